"""`kaizen_analytics.core.git` against real temporary repositories."""

import shutil
import subprocess
from pathlib import Path

import pytest
from experiment_cases import commit, git, make_repository
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.errors import RepositoryError
from kaizen_analytics.core.git import Ancestry, BranchHistory, Repository, _compute_ancestry


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Root - a - b - c on main; side forks from a; orphan shares nothing."""
    root = make_repository(tmp_path_factory.mktemp("template"))
    ids = {name: commit(root, name) for name in ("root", "a")}
    git(root, "checkout", "-q", "-b", "side")
    ids["side"] = commit(root, "side")
    git(root, "checkout", "-q", "main")
    ids |= {name: commit(root, name) for name in ("b", "c")}
    git(root, "checkout", "-q", "--orphan", "other")
    ids["orphan"] = commit(root, "orphan")
    git(root, "checkout", "-q", "main")
    return root, ids


@pytest.fixture
def ids(template: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return template[1]


@pytest.fixture
def folder(tmp_path: Path, template: tuple[Path, dict[str, str]]) -> Path:
    """A copy of the history, for this test alone."""
    return Path(shutil.copytree(template[0], tmp_path / "repo with space"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "empty")


def test_open_finds_the_root_from_a_folder_inside(folder: Path) -> None:
    inner = folder / "src" / "deep"
    inner.mkdir(parents=True)
    assert Repository.open(inner).root == folder


def test_open_outside_a_repository_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"is not inside a git working tree"):
        Repository.open(tmp_path)
    assert Repository.find(tmp_path) is None


def test_open_of_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="is not a folder"):
        Repository.open(tmp_path / "nowhere")
    assert Repository.find(tmp_path / "nowhere") is None


def test_find_does_not_hide_a_repository_that_git_refuses(folder: Path) -> None:
    (folder / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 99\n")
    with pytest.raises(RepositoryError):
        Repository.find(folder)


def test_inherited_git_variables_do_not_redirect(
    folder: Path, ids: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert Repository.open(folder).resolve_commit("main") == ids["c"]


def test_missing_git_is_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RepositoryError, match="git was not found"):
        Repository.open(folder)


def test_resolve_commit_takes_ids_tags_branches_and_expressions(folder: Path, ids: dict[str, str]) -> None:
    git(folder, "tag", "-a", "v1", "-m", "one", ids["a"])
    repository = Repository.open(folder)
    assert repository.resolve_commit(ids["b"][:10]) == ids["b"]
    assert repository.resolve_commit("v1") == ids["a"]
    assert repository.resolve_commit("main~1") == ids["b"]


@pytest.mark.parametrize("reference", ["", "nope", "--all", "-h", "a\0b", "a\nb", "main:file", "--output=/tmp/x"])
def test_resolve_commit_refuses_what_is_no_commit(empty: Path, reference: str) -> None:
    with pytest.raises(RepositoryError, match="is not a commit"):
        Repository.open(empty).resolve_commit(reference)


def test_resolve_commit_suggests_a_branch(folder: Path) -> None:
    with pytest.raises(RepositoryError, match="Did you mean 'side'"):
        Repository.open(folder).resolve_commit("sidee")


def test_a_branch_is_found_locally_before_a_remote_and_a_tag(folder: Path, ids: dict[str, str]) -> None:
    git(folder, "update-ref", "refs/remotes/origin/side", ids["a"])
    git(folder, "update-ref", "refs/remotes/origin/gone", ids["b"])
    git(folder, "tag", "side", ids["root"])
    repository = Repository.open(folder)
    assert repository.resolve_branch("side") == ids["side"]
    assert repository.resolve_branch("gone") == ids["b"]
    assert repository.resolve_branch("origin/gone") == ids["b"]
    with pytest.raises(RepositoryError, match="is not a branch"):
        repository.resolve_branch(ids["a"])


def test_a_branch_with_an_option_like_name_resolves(folder: Path, ids: dict[str, str]) -> None:
    git(folder, "update-ref", "refs/heads/--upload-pack=x", ids["a"])
    assert Repository.open(folder).resolve_branch("--upload-pack=x") == ids["a"]


def test_known_commits_leaves_unknown_and_malformed_ids_out(folder: Path, ids: dict[str, str]) -> None:
    tree = git(folder, "rev-parse", "main^{tree}")
    short = ids["a"][:12]
    known = Repository.open(folder).known_commits([short, "f" * 40, tree, "main", "HEAD", "--all", ""])
    assert known == {short: ids["a"]}


def test_relate_answers_for_many_commits_in_two_calls(
    folder: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: calls.append(a) or real(*a, **k))
    repository = Repository(folder)
    found = repository.relate([*ids.values(), "f" * 40], [ids["a"], ids["c"]])
    a, c = ids["a"], ids["c"]
    assert len(calls) == 2
    assert found == {
        ids["root"]: Ancestry(ancestor_of=frozenset({a, c}), descendant_of=frozenset()),
        a: Ancestry(ancestor_of=frozenset({a, c}), descendant_of=frozenset({a})),
        ids["b"]: Ancestry(ancestor_of=frozenset({c}), descendant_of=frozenset({a})),
        c: Ancestry(ancestor_of=frozenset({c}), descendant_of=frozenset({a, c})),
        ids["side"]: Ancestry(ancestor_of=frozenset(), descendant_of=frozenset({a})),
        ids["orphan"]: Ancestry(ancestor_of=frozenset(), descendant_of=frozenset()),
    }


def test_relate_names_a_target_that_is_gone(folder: Path, ids: dict[str, str]) -> None:
    with pytest.raises(RepositoryError, match="no longer has the commit ffff"):
        Repository.open(folder).relate([ids["a"]], ["f" * 40])


def test_relate_without_commits_asks_nothing(folder: Path) -> None:
    assert Repository.open(folder).relate([], []) == {}


def test_relate_ignores_replace_references(folder: Path, ids: dict[str, str]) -> None:
    git(folder, "replace", "--graft", ids["c"])
    found = Repository.open(folder).relate([ids["c"]], [ids["a"]])
    assert found[ids["c"]].descendant_of == {ids["a"]}


def test_a_shallow_clone_says_so(folder: Path, tmp_path: Path) -> None:
    clone = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{folder}", str(clone))
    assert Repository.open(clone).is_shallow()
    assert not Repository.open(folder).is_shallow()


def test_a_branch_is_followed_through_its_reflog(empty: Path) -> None:
    first = commit(empty, "first", at_s=1000)
    second = commit(empty, "second", at_s=2000)
    git(empty, "reset", "-q", "--hard", first, at_s=3000)
    third = commit(empty, "third", at_s=4000)
    branch = Repository.open(empty).read_branch_history("main")
    at = [branch.commit_at(s * 1000) for s in (999, 1000, 2500, 3000, 9000)]
    assert at == [None, first, second, first, third]


def test_without_a_reflog_the_last_commit_before_the_time_stands_in(empty: Path) -> None:
    first = commit(empty, "first", at_s=1000)
    second = commit(empty, "second", at_s=2000)
    git(empty, "reflog", "expire", "--expire=now", "--all")
    branch = Repository.open(empty).read_branch_history("main")
    assert branch.moves == ()
    assert [branch.commit_at(s * 1000) for s in (999, 1999, 2000)] == [None, first, second]


def test_a_reflog_that_starts_late_leaves_the_past_to_the_commits(empty: Path, tmp_path: Path) -> None:
    first = commit(empty, "first", at_s=1000)
    second = commit(empty, "second", at_s=2000)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(empty), str(clone), at_s=5000)
    branch = Repository.open(clone).read_branch_history("main")
    assert branch.commit_at(1_500_000) == first
    assert branch.commit_at(5_000_000) == second


def test_head_has_moves_but_no_commits(empty: Path) -> None:
    first = commit(empty, "first", at_s=1000)
    branch = Repository.open(empty).read_branch_history("HEAD")
    assert branch == BranchHistory(moves=((1000, first),), commits=())


def test_a_deleted_branch_has_no_history(folder: Path) -> None:
    git(folder, "branch", "-q", "-D", "side")
    assert Repository.open(folder).read_branch_history("side") == BranchHistory(moves=(), commits=())


def test_configured_programs_are_not_started(folder: Path, ids: dict[str, str], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    script = tmp_path / "run.sh"
    script.write_text(f"#!/bin/sh\ntouch '{canary}'\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "gpg.program", "diff.external", "core.sshCommand"):
        git(folder, "config", key, str(script))
    git(folder, "config", "log.showSignature", "true")
    repository = Repository.open(folder)
    repository.relate(ids.values(), [ids["a"]])
    repository.read_branch_history("main")
    repository.is_shallow()
    assert not canary.exists()


def naive_ancestors(parents: dict[str, tuple[str, ...]], start: str) -> set[str]:
    todo, found = [start], set()
    while todo:
        commit_id = todo.pop()
        if commit_id not in found:
            found.add(commit_id)
            todo.extend(parents[commit_id])
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, tuple[str, ...]]]:
    size = draw(st.integers(1, 9))
    graph = []
    for index in range(size):
        older = [str(other) for other in range(index)]
        parents = draw(st.lists(st.sampled_from(older), max_size=3, unique=True)) if older else []
        graph.append((str(index), tuple(parents)))
    return graph[::-1]


@given(histories(), st.data())
def test_ancestry_equals_a_search_from_every_commit(
    graph: list[tuple[str, tuple[str, ...]]], data: st.DataObject
) -> None:
    names = [name for name, _ in graph]
    targets = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    wanted = frozenset(data.draw(st.lists(st.sampled_from(names), min_size=1))) | set(targets)
    parents = dict(graph)
    found = _compute_ancestry(graph, wanted, targets)
    assert found == {
        name: Ancestry(
            ancestor_of=frozenset(t for t in targets if name in naive_ancestors(parents, t)),
            descendant_of=frozenset(t for t in targets if t in naive_ancestors(parents, name)),
        )
        for name in wanted
    }


def test_changes_are_the_last_commits_of_paths(empty: Path) -> None:
    for at_s, name in ((1_700_000_000, "a b.md"), (1_700_000_100, "ü.md"), (1_700_000_200, "[x].md")):
        (empty / name).write_text(str(at_s))
        git(empty, "add", "--", name)
        commit(empty, f"Write {name}", at_s=at_s)
    (empty / "new.md").write_text("not committed")
    changes = Repository.open(empty).read_changes(["a b.md", "ü.md", "[x].md", "new.md"])

    assert changes == {"a b.md": 1_700_000_000_000, "ü.md": 1_700_000_100_000, "[x].md": 1_700_000_200_000}


def test_a_repository_without_commits_has_no_changes(empty: Path) -> None:
    repository = Repository.open(empty)

    assert repository.read_changes(["a.md"]) == {}

"""What became of commits, on real git: merges, copies, squashes, reverts, and what cannot be known."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from repositories import Repo

from kaizen_analytics.core.git import Repository
from kaizen_analytics.outcomes.landing import DefaultBranch, Landing, find_landings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "repo")
    repo.commit("Start", a_py=["one", "two", "three"])
    return repo


def land(repo: Repo, *commits: str, requests: dict[str, str] | None = None) -> list[Landing]:
    repository = Repository.open(repo.folder)
    default = repository.find_default_branch()
    assert default is not None
    branch = DefaultBranch(default[1], repository.read_log(default[1]))
    found = find_landings(repository, branch, commits, requests=requests or {})
    return [found[commit] for commit in commits]


def test_a_commit_on_the_default_branch_has_landed_as_itself(repo: Repo) -> None:
    commit = repo.commit("Add", b_py=["x", "y"])
    (found,) = land(repo, commit[:8])
    assert (found.commit, found.landed, found.landed_as, found.reverted) == (commit, True, commit, False)


def test_a_commit_on_another_branch_has_not_landed_until_it_is_merged(repo: Repo) -> None:
    repo.branch("topic")
    commit = repo.commit("Add", b_py=["x"])
    assert land(repo, commit)[0].landed is False
    repo.checkout("main")
    repo.commit("Go on", c_py=["z"])
    assert land(repo, commit)[0].landed is False
    repo.git("merge", "-q", "--no-ff", "topic")
    assert land(repo, commit)[0].landed_as == commit


def test_a_picked_commit_has_landed_as_its_copy(repo: Repo) -> None:
    repo.branch("topic")
    repo.commit("Other", c_py=["z"])
    commit = repo.commit("Add", b_py=["x"])
    repo.checkout("main")
    repo.git("cherry-pick", commit)
    assert land(repo, commit)[0].landed_as == repo.head()


@pytest.mark.parametrize("deleted", [False, True])
def test_every_commit_of_a_squashed_branch_has_landed_as_the_squash(repo: Repo, *, deleted: bool) -> None:
    repo.branch("topic")
    commits = [repo.commit("One", b_py=["x"]), repo.commit("Two", b_py=["x", "y"]), repo.commit("Three", a_py=["1"])]
    repo.checkout("main")
    repo.commit("Go on", c_py=["z"])
    repo.git("merge", "-q", "--squash", "topic")
    repo.git("commit", "-q", "-m", "Squashed")
    squash = repo.head()
    if deleted:
        repo.git("branch", "-D", "topic")
    assert [found.landed_as for found in land(repo, *commits)] == [squash] * 3


def test_a_branch_that_took_in_the_default_branch_has_landed_as_its_squash(repo: Repo) -> None:
    repo.branch("topic")
    commits = [repo.commit("One", b_py=["x"])]
    repo.checkout("main")
    repo.commit("Go on", c_py=["z"])
    repo.checkout("topic")
    repo.git("merge", "-q", "--no-ff", "main")
    commits.append(repo.commit("Two", b_py=["x", "y"]))
    repo.checkout("main")
    repo.git("merge", "-q", "--squash", "topic")
    repo.git("commit", "-q", "-m", "Squashed")
    assert [found.landed_as for found in land(repo, *commits)] == [repo.head()] * 2


def test_a_commit_that_is_gone_has_landed_with_its_pull_request(repo: Repo) -> None:
    squash = repo.commit("Add a thing (#12)", b_py=["x"])
    url = "https://example.org/a/b/pull/12"
    (found,) = land(repo, "abcdef1", requests={"abcdef1": url})
    assert (found.landed, found.landed_as) == (True, squash)
    (other,) = land(repo, "abcdef1", requests={"abcdef1": "https://example.org/a/b/pull/1"})
    assert other.landed is None, "the commit is gone and nothing tells where it went"


def test_an_amended_commit_has_not_landed_but_its_new_form_has(repo: Repo) -> None:
    before = repo.commit("Add", b_py=["x"])
    repo.write("b.py", "x", "y")
    repo.git("commit", "-qa", "--amend", "-m", "Add more")
    assert [found.landed for found in land(repo, before, repo.head())] == [False, True]


def test_a_reverted_commit_is_reverted_until_the_revert_is_reverted(repo: Repo) -> None:
    commit = repo.commit("Add", b_py=["x"])
    repo.git("revert", "--no-edit", "HEAD")
    assert land(repo, commit)[0].reverted is True
    repo.git("revert", "--no-edit", "HEAD")
    assert land(repo, commit)[0].reverted is False


def test_a_reverted_merge_reverts_the_commits_that_it_brought(repo: Repo) -> None:
    repo.branch("topic")
    commit = repo.commit("Add", b_py=["x"])
    repo.checkout("main")
    other = repo.commit("Go on", c_py=["z"])
    repo.git("merge", "-q", "--no-ff", "topic")
    repo.git("revert", "--no-edit", "-m", "1", "HEAD")
    assert [found.reverted for found in land(repo, commit, other)] == [True, False]


def test_a_request_that_is_reverted_by_its_number_is_reverted(repo: Repo) -> None:
    commit = repo.commit("Add a thing (#12)", b_py=["x"])
    repo.git("commit", "-q", "--allow-empty", "-m", 'Revert "Add a thing"\n\nReverts a/b#12')
    assert land(repo, commit)[0].reverted is True


def test_a_shallow_clone_cannot_say_what_did_not_land(repo: Repo, tmp_path: Path) -> None:
    old = repo.commit("Old", b_py=["x"])
    new = repo.commit("New", b_py=["y"])
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{repo.folder}", str(tmp_path / "shallow")], check=True
    )
    repo.folder = tmp_path / "shallow"
    assert [found.landed for found in land(repo, old, new)] == [None, True]


def test_the_default_branch_is_that_of_origin(repo: Repo, tmp_path: Path) -> None:
    repo.git("branch", "-m", "stable")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(repo.folder), str(clone)], check=True)
    branch = Repository.open(clone).find_default_branch()
    assert branch is not None
    assert branch[0] == "origin/stable"


def test_an_empty_repository_has_no_default_branch(tmp_path: Path) -> None:
    Repo(tmp_path / "empty")
    assert Repository.open(tmp_path / "empty").find_default_branch() is None


def test_a_submodule_counts_as_one_line(repo: Repo, tmp_path: Path) -> None:
    inner = Repo(tmp_path / "inner")
    inner.commit("Inner", i_py=["x"] * 50)
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.folder), "inner")
    commit = repo.commit("Add the submodule")
    (found,) = land(repo, commit)
    assert found.landed is True
    counts = Repository.open(repo.folder).read_line_counts([commit])[commit]
    assert counts == {".gitmodules": 3, "inner": 1}, "a submodule is a line, its commit"


def test_the_configuration_of_a_repository_starts_no_program(repo: Repo, tmp_path: Path) -> None:
    commit = repo.commit("Add", b_py=["x"])
    stray = repo.commit("Stray", d_py=["q"])
    repo.git("reset", "-q", "--hard", commit)
    mark = tmp_path / "ran"
    program = f"sh -c 'touch {mark}; cat'"
    for name in (
        "diff.external",
        "core.fsmonitor",
        "core.pager",
        "diff.x.textconv",
        "filter.x.clean",
        "core.sshCommand",
    ):
        repo.git("config", name, program)
    repo.write(".gitattributes", "*.py diff=x filter=x")
    assert [found.landed for found in land(repo, commit, stray)] == [True, False]
    assert not mark.exists()

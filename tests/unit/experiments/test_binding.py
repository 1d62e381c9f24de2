"""Every rule that puts a session into an arm; commit rules on a real repository."""

import os
import subprocess
from pathlib import Path

import pytest

from kaizen_analytics.experiments.binding import (
    Assignment,
    Candidate,
    Evidence,
    Flag,
    Reason,
    assign,
    assign_commit,
    assign_tips,
    assign_values,
    candidate_of,
    commits_of,
)
from kaizen_analytics.experiments.plan import Start
from kaizen_analytics.git import Ancestry, Repository
from kaizen_analytics.model import Branch, Classification, GitCommit, ManualTag, PromptFingerprint

CONTROL, TREATMENT, EXCLUDED = Classification.CONTROL, Classification.TREATMENT, Classification.EXCLUDED
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref="c", treatment_ref="t")
COMMITS = GitCommit(control_commit="c", treatment_commit="t")
BRANCHES = Branch(control_branch="main", treatment_branch="topic")
PROMPTS = PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new")
MANUAL = ManualTag(variant_field="variant")
NOTHING = Evidence()


def excluded(reason: Reason) -> Assignment:
    return Assignment(classification=EXCLUDED, reason=reason)


def in_arm(classification: Classification, *flags: Flag) -> Assignment:
    return Assignment(classification=classification, flags=flags)


def relation(*, before: str = "", after: str = "") -> Ancestry:
    """A commit before the targets in `before` and after the targets in `after`."""
    return Ancestry(ancestor_of=frozenset(before), descendant_of=frozenset(after))


@pytest.mark.parametrize(
    ("tag", "expected"),
    [(CONTROL, in_arm(CONTROL)), (TREATMENT, in_arm(TREATMENT)), (EXCLUDED, excluded(Reason.TAGGED))],
)
def test_a_manual_tag_wins_over_the_binding(tag: Classification, expected: Assignment) -> None:
    candidate = Candidate(session_id="s", prompt_fingerprint="new")
    assert assign(candidate, PROMPTS, START, Evidence(tags={"s": tag})) == expected


def test_broken_data_win_over_a_tag() -> None:
    evidence = Evidence(tags={"s": CONTROL}, foreign=frozenset({"s"}))
    assert assign(Candidate(session_id="s"), MANUAL, START, evidence) == excluded(Reason.FOREIGN_ROWS)


def test_a_tag_beyond_the_planned_workspaces_is_counted_as_such() -> None:
    evidence = Evidence(tags={"s": CONTROL}, outside=frozenset({"s"}))
    assert assign(Candidate(session_id="s"), MANUAL, START, evidence) == excluded(Reason.OUTSIDE_WORKSPACES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], excluded(Reason.NOT_TAGGED)),
        (["A"], in_arm(CONTROL)),
        ([" Control "], in_arm(CONTROL)),
        (["b"], in_arm(TREATMENT)),
        (["treatment", "B"], in_arm(TREATMENT)),
        (["C"], excluded(Reason.UNKNOWN_VALUE)),
        (["A", "B"], excluded(Reason.CONFLICTING_VALUES)),
        (["A", "C"], excluded(Reason.CONFLICTING_VALUES)),
    ],
)
def test_values_of_a_manual_field(values: list[str], expected: Assignment) -> None:
    assert assign_values(frozenset(values)) == expected
    evidence = Evidence(values={"s": frozenset(values)})
    assert assign(Candidate(session_id="s"), MANUAL, START, evidence) == expected


@pytest.mark.parametrize(
    ("fingerprint", "expected"),
    [
        ("old", in_arm(CONTROL)),
        ("new", in_arm(TREATMENT)),
        ("older", excluded(Reason.OTHER_FINGERPRINT)),
        (None, excluded(Reason.NO_FINGERPRINT)),
        ("", excluded(Reason.NO_FINGERPRINT)),
    ],
)
def test_fingerprints_match_exactly(fingerprint: str | None, expected: Assignment) -> None:
    candidate = Candidate(session_id="s", prompt_fingerprint=fingerprint)
    assert assign(candidate, PROMPTS, START, NOTHING) == expected


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("main", in_arm(CONTROL)),
        ("refs/heads/topic", in_arm(TREATMENT)),
        ("topic-2", excluded(Reason.OTHER_BRANCH)),
    ],
)
def test_the_recorded_branch_decides_before_its_commit(branch: str, expected: Assignment) -> None:
    candidate = Candidate(session_id="s", branch=branch, start_commit="x")
    evidence = Evidence(ancestry={"x": relation(before="ct")})
    assert assign(candidate, BRANCHES, START, evidence) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("t", "", in_arm(TREATMENT)),
        ("c", "", in_arm(CONTROL)),
        ("t", "c", in_arm(TREATMENT)),
        ("ct", "", excluded(Reason.BOTH_BRANCHES)),
        ("", "t", in_arm(TREATMENT)),
        ("", "c", in_arm(CONTROL)),
        ("", "ct", excluded(Reason.BOTH_BRANCHES)),
        ("", "", excluded(Reason.UNRELATED)),
    ],
)
def test_without_a_branch_the_frozen_tips_decide(before: str, after: str, expected: Assignment) -> None:
    candidate = Candidate(session_id="s", start_commit="x")
    evidence = Evidence(ancestry={"x": relation(before=before, after=after)})
    assert assign(candidate, BRANCHES, START, evidence) == expected


def test_equal_tips_tell_no_branches_apart() -> None:
    assert assign_tips(relation(before="c"), "c", "c") == excluded(Reason.BOTH_BRANCHES)
    assert assign_tips(relation(before="c"), "c", "t", is_shallow=True) == excluded(Reason.SHALLOW_CLONE)


def test_a_commit_that_cannot_be_related_is_excluded_with_its_reason() -> None:
    shallow = Evidence(is_shallow=True)
    assert assign(Candidate(session_id="s"), COMMITS, START, NOTHING) == excluded(Reason.NO_COMMIT)
    unknown = Candidate(session_id="s", start_commit="x")
    assert assign(unknown, COMMITS, START, NOTHING) == excluded(Reason.UNKNOWN_COMMIT)
    assert assign(unknown, COMMITS, START, shallow) == excluded(Reason.SHALLOW_CLONE)


def test_without_a_repository_only_recorded_branches_count() -> None:
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1)
    recorded = Candidate(session_id="s", branch="topic")
    silent = Candidate(session_id="s", start_commit="x")
    assert assign(recorded, BRANCHES, start, NOTHING) == in_arm(TREATMENT)
    assert assign(silent, BRANCHES, start, NOTHING) == excluded(Reason.NO_REPOSITORY)


def test_in_a_shallow_clone_only_relations_that_were_found_count() -> None:
    assert assign_commit(relation(after="ct"), "c", "t", is_shallow=True) == in_arm(TREATMENT)
    assert assign_commit(relation(before="ct"), "c", "t", is_shallow=True) == in_arm(CONTROL)
    assert assign_commit(relation(after="c"), "c", "t", is_shallow=True) == excluded(Reason.SHALLOW_CLONE)
    assert assign_commit(relation(), "c", "t", is_shallow=True) == excluded(Reason.SHALLOW_CLONE)


def test_dirty_and_inferred_sessions_count_and_are_flagged() -> None:
    row = {
        "session_id": "s",
        "branch": None,
        "start_commit": None,
        "prompt_fingerprint": "new",
        "dirty_start": 1,
        "repo_binding_source": "inferred",
    }
    assert assign(candidate_of(row), PROMPTS, START, NOTHING) == in_arm(TREATMENT, Flag.DIRTY, Flag.INFERRED)


def test_only_bindings_on_commits_ask_for_ancestry() -> None:
    candidates = [
        Candidate(session_id="1", start_commit="b"),
        Candidate(session_id="2", start_commit="a", branch="main"),
        Candidate(session_id="3", start_commit="b"),
        Candidate(session_id="4"),
    ]
    assert commits_of(candidates, COMMITS) == ["a", "b"]
    assert commits_of(candidates, BRANCHES) == ["b"]
    assert commits_of(candidates, PROMPTS) == commits_of(candidates, MANUAL) == []


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, dict[str, str]]:
    r"""Root - control - between - treatment - after, with forks from each and a merge of the side branch.

    ::

        before - control - between - treatment - after - merge
               \        \          \                     /
                \        \          between_side        /
                 \        control_side ----------------
                  before_side                   (orphan)
    """
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q", "-b", "main")
    ids: dict[str, str] = {}

    def commit(name: str) -> None:
        git(folder, "commit", "-q", "--allow-empty", "-m", name)
        ids[name] = git(folder, "rev-parse", "HEAD")

    for name in ("before", "control", "between", "treatment", "after"):
        commit(name)
    for name in ("before", "control", "between"):
        git(folder, "checkout", "-q", "-b", f"{name}_side", ids[name])
        commit(f"{name}_side")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "merge", "control_side")
    ids["merge"] = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "--orphan", "orphan")
    commit("orphan")
    return Repository.open(folder), ids


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ("treatment", in_arm(TREATMENT)),
        ("after", in_arm(TREATMENT)),
        ("merge", in_arm(TREATMENT)),
        ("control", in_arm(CONTROL)),
        ("before", in_arm(CONTROL)),
        ("between", excluded(Reason.BETWEEN)),
        ("control_side", in_arm(CONTROL, Flag.SIDE_BRANCH)),
        ("between_side", in_arm(CONTROL, Flag.SIDE_BRANCH)),
        ("before_side", excluded(Reason.UNRELATED)),
        ("orphan", excluded(Reason.UNRELATED)),
    ],
)
def test_every_cell_of_the_commit_table_on_a_real_repository(
    commits: tuple[Repository, dict[str, str]], session: str, expected: Assignment
) -> None:
    repository, ids = commits
    targets = [ids["control"], ids["treatment"]]
    ancestry = repository.relate([ids[session]], targets)
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref=targets[0], treatment_ref=targets[1])
    candidate = Candidate(session_id="s", start_commit=ids[session])
    assert assign(candidate, COMMITS, start, Evidence(ancestry=ancestry)) == expected

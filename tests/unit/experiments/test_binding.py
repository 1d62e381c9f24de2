"""Every rule that puts a session into an arm; commit rules on a real repository."""

import pytest
from experiment_cases import commit, git, make_repository

from kaizen_analytics.core.git import Ancestry, Repository
from kaizen_analytics.core.model import Branch, Classification, GitCommit, ManualTag, PromptFingerprint
from kaizen_analytics.experiments.plan import Start
from kaizen_analytics.experiments.sample import (
    Candidate,
    Exclusion,
    Flag,
    _assign,
    _Assignment,
    _candidate_of,
    _SessionFacts,
    commits_of,
)

CONTROL, TREATMENT, EXCLUDED = Classification.CONTROL, Classification.TREATMENT, Classification.EXCLUDED
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref="c", treatment_ref="t")
COMMITS = GitCommit(control_commit="c", treatment_commit="t")
BRANCHES = Branch(control_branch="main", treatment_branch="topic")
PROMPTS = PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new")
MANUAL = ManualTag(variant_field="variant")


def related(before: str = "", after: str = "", *, is_shallow: bool = False) -> _SessionFacts:
    """Return evidence of commit x, before the targets in `before` and after those in `after`."""
    ancestry = {"x": Ancestry(ancestor_of=frozenset(before), descendant_of=frozenset(after))}
    return _SessionFacts(ancestry=ancestry, is_shallow=is_shallow)


def tagged(tag: Classification, **more: object) -> _SessionFacts:
    return _SessionFacts(tags={"s": tag}, **more)


def valued(*values: str) -> _SessionFacts:
    return _SessionFacts(values={"s": frozenset(values)})


@pytest.mark.parametrize(
    ("binding", "session", "evidence", "expected"),
    [
        # a manual tag wins over the binding, broken data over a tag
        (PROMPTS, {"prompt_fingerprint": "new"}, tagged(CONTROL), CONTROL),
        (PROMPTS, {"prompt_fingerprint": "new"}, tagged(EXCLUDED), Exclusion.TAGGED),
        (MANUAL, {}, tagged(CONTROL, outside=frozenset("s")), Exclusion.OUTSIDE_WORKSPACES),
        # values of a payload's key
        (MANUAL, {}, valued(), Exclusion.NOT_TAGGED),
        (MANUAL, {}, valued("A"), CONTROL),
        (MANUAL, {}, valued(" Control "), CONTROL),
        (MANUAL, {}, valued("treatment", "B"), TREATMENT),
        (MANUAL, {}, valued("C"), Exclusion.UNKNOWN_VALUE),
        (MANUAL, {}, valued("A", "B"), Exclusion.CONFLICTING_VALUES),
        (MANUAL, {}, valued("A", "C"), Exclusion.CONFLICTING_VALUES),
        # fingerprints match exactly
        (PROMPTS, {"prompt_fingerprint": "old"}, _SessionFacts(), CONTROL),
        (PROMPTS, {"prompt_fingerprint": "new"}, _SessionFacts(), TREATMENT),
        (PROMPTS, {"prompt_fingerprint": "older"}, _SessionFacts(), Exclusion.OTHER_FINGERPRINT),
        (PROMPTS, {"prompt_fingerprint": ""}, _SessionFacts(), Exclusion.NO_FINGERPRINT),
        # the recorded branch decides before its commit
        (BRANCHES, {"branch": "main", "start_commit": "x"}, related("ct"), CONTROL),
        (BRANCHES, {"branch": "refs/heads/topic", "start_commit": "x"}, related("ct"), TREATMENT),
        (BRANCHES, {"branch": "topic-2", "start_commit": "x"}, related("ct"), Exclusion.OTHER_BRANCH),
        # without a branch the frozen tips decide
        (BRANCHES, {"start_commit": "x"}, related("t"), TREATMENT),
        (BRANCHES, {"start_commit": "x"}, related("c"), CONTROL),
        (BRANCHES, {"start_commit": "x"}, related("t", "c"), TREATMENT),
        (BRANCHES, {"start_commit": "x"}, related("ct"), Exclusion.BOTH_BRANCHES),
        (BRANCHES, {"start_commit": "x"}, related("", "t"), TREATMENT),
        (BRANCHES, {"start_commit": "x"}, related("", "c"), CONTROL),
        (BRANCHES, {"start_commit": "x"}, related("", "ct"), Exclusion.BOTH_BRANCHES),
        (BRANCHES, {"start_commit": "x"}, related(), Exclusion.UNRELATED),
        (BRANCHES, {"start_commit": "x"}, related("c", is_shallow=True), Exclusion.SHALLOW_CLONE),
        # a commit that cannot be related
        (COMMITS, {}, _SessionFacts(), Exclusion.NO_COMMIT),
        (COMMITS, {"start_commit": "x"}, _SessionFacts(), Exclusion.UNKNOWN_COMMIT),
        (COMMITS, {"start_commit": "x"}, _SessionFacts(is_shallow=True), Exclusion.SHALLOW_CLONE),
        # in a shallow clone only relations that were found count
        (COMMITS, {"start_commit": "x"}, related("", "ct", is_shallow=True), TREATMENT),
        (COMMITS, {"start_commit": "x"}, related("ct", is_shallow=True), CONTROL),
        (COMMITS, {"start_commit": "x"}, related("", "c", is_shallow=True), Exclusion.SHALLOW_CLONE),
        (COMMITS, {"start_commit": "x"}, related(is_shallow=True), Exclusion.SHALLOW_CLONE),
    ],
)
def test_every_session_has_an_arm_or_a_reason(binding, session, evidence, expected) -> None:
    found = _assign(Candidate(session_id="s", **session), binding, START, evidence)
    if isinstance(expected, Exclusion):
        assert found == _Assignment(classification=EXCLUDED, reason=expected)
    else:
        assert found == _Assignment(classification=expected)


def test_without_a_repository_only_recorded_branches_count() -> None:
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1)
    recorded, silent = Candidate(session_id="s", branch="topic"), Candidate(session_id="s", start_commit="x")
    assert _assign(recorded, BRANCHES, start, _SessionFacts()).classification is TREATMENT
    assert _assign(silent, BRANCHES, start, _SessionFacts()).reason is Exclusion.NO_REPOSITORY


def test_equal_tips_put_no_session_into_an_arm() -> None:
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref="c", treatment_ref="c")
    found = _assign(Candidate(session_id="s", start_commit="x"), BRANCHES, start, related("c"))
    assert found.reason is Exclusion.BOTH_BRANCHES


def test_dirty_and_inferred_sessions_count_and_are_flagged() -> None:
    row = {"session_id": "s", "branch": None, "start_commit": None, "prompt_fingerprint": "new", "dirty_start": 1}
    found = _assign(_candidate_of({**row, "repo_binding_source": "inferred"}), PROMPTS, START, _SessionFacts())
    assert found == _Assignment(classification=TREATMENT, flags=(Flag.DIRTY, Flag.INFERRED))


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
    folder = make_repository(tmp_path_factory.mktemp("repository"))
    ids = {name: commit(folder, name) for name in ("before", "control", "between", "treatment", "after")}
    for name in ("before", "control", "between"):
        git(folder, "checkout", "-q", "-b", f"{name}_side", ids[name])
        ids[f"{name}_side"] = commit(folder, f"{name}_side")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "merge", "control_side")
    ids["merge"] = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "--orphan", "orphan")
    ids["orphan"] = commit(folder, "orphan")
    return Repository.open(folder), ids


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ("treatment", _Assignment(classification=TREATMENT)),
        ("after", _Assignment(classification=TREATMENT)),
        ("merge", _Assignment(classification=TREATMENT)),
        ("control", _Assignment(classification=CONTROL)),
        ("before", _Assignment(classification=CONTROL)),
        ("between", _Assignment(classification=EXCLUDED, reason=Exclusion.BETWEEN)),
        ("control_side", _Assignment(classification=CONTROL, flags=(Flag.SIDE_BRANCH,))),
        ("between_side", _Assignment(classification=CONTROL, flags=(Flag.SIDE_BRANCH,))),
        ("before_side", _Assignment(classification=EXCLUDED, reason=Exclusion.UNRELATED)),
        ("orphan", _Assignment(classification=EXCLUDED, reason=Exclusion.UNRELATED)),
    ],
)
def test_every_cell_of_the_commit_table_on_a_real_repository(commits, session: str, expected: _Assignment) -> None:
    repository, ids = commits
    targets = [ids["control"], ids["treatment"]]
    evidence = _SessionFacts(ancestry=repository.relate([ids[session]], targets))
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref=targets[0], treatment_ref=targets[1])
    assert _assign(Candidate(session_id="s", start_commit=ids[session]), COMMITS, start, evidence) == expected


@pytest.mark.parametrize(
    ("branches", "reason"),
    [
        (("main", "topic"), Exclusion.MOVED),
        (("refs/heads/topic", "other", "main"), Exclusion.MOVED),
        (("topic", "other"), None),
        ((), None),
    ],
)
def test_a_session_that_moved_between_the_arms_branches_is_in_neither(branches, reason):
    binding = Branch("main", "topic")

    found = _assign(Candidate(session_id="s", branch="topic", branches=branches), binding, START, _SessionFacts())

    assert found.reason is reason

"""From draft to archive on real stores and repositories: what freezes when, and what refuses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kaizen_analytics.errors import (
    ExperimentError,
    ExperimentNotFoundError,
    FrozenError,
    KaizenError,
    RepositoryError,
    VariantConflictError,
)
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assessment import assess
from kaizen_analytics.experiments.plan import Cluster, Plan, PlanDesign
from kaizen_analytics.experiments.verdict import Verdict
from kaizen_analytics.model import (
    Branch,
    Classification,
    Delta,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
    State,
)
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import load_experiment, manual_tags, save_experiment, set_state, tag_session

DAY_MS = 86_400_000
NOW_MS = 100 * DAY_MS
LATER_MS = NOW_MS + 14 * DAY_MS
CONTROL, TREATMENT = Classification.CONTROL, Classification.TREATMENT
FIXED = Plan(design=PlanDesign.FIXED)
PROMPTS = PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new")

AddSessions = Callable[[list[dict[str, object]]], None]


def experiment(**changes: object) -> Experiment:
    base = Experiment(
        id="exp-1",
        name="Shorter instructions",
        hypothesis="fewer tokens",
        change_description="half the text",
        metric=Metric.TOKENS_PER_SESSION,
        binding=PROMPTS,
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-20.0),
        created_at_ms=NOW_MS - DAY_MS,
    )
    return replace(base, **changes)


def arms(n: int = 8, at_ms: int = NOW_MS, **columns: object) -> list[dict[str, object]]:
    """Control sessions of 1000 tokens and more, treatment sessions of half, one pair an hour."""
    return [
        {
            "id": f"{arm}{i}",
            "started_at_ms": at_ms + 3_600_000 * i,
            "tokens": (1000 + i) // share,
            "prompt_fingerprint": arm,
            **columns,
        }
        for arm, share in (("old", 1), ("new", 2))
        for i in range(n)
    ]


@pytest.fixture
def running(store: Store, add_sessions: AddSessions) -> Store:
    lifecycle.new_experiment(store, experiment(), FIXED)
    lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    add_sessions(arms())
    return store


def test_a_whole_life(running: Store) -> None:
    live = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS)
    assert (live.verdict, live.experiment.state, live.primary.control.n) == (Verdict.MET, State.RUNNING, 8)
    frozen = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    assert frozen.experiment.concluded_at_ms == LATER_MS
    assert lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 1) == frozen
    lifecycle.archive(running, "exp-1", now_ms=LATER_MS + 2)
    archived = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 3)
    assert archived.experiment.state is State.ARCHIVED
    assert archived.to_json() == {
        **frozen.to_json(),
        "state": "Archived",
        "experiment": archived.to_json()["experiment"],
    }


def test_a_unique_start_of_the_id_is_enough(running: Store) -> None:
    assert lifecycle.evaluate(running, "exp", now_ms=LATER_MS).experiment.id == "exp-1"


def test_a_concluded_experiment_keeps_its_digits_whatever_happens_to_the_sessions(
    running: Store, add_sessions: AddSessions
) -> None:
    frozen = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    before = json.dumps(lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS).to_json())
    add_sessions([{**row, "tokens": 1} for row in arms(20)])
    after = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 99 * DAY_MS)
    assert json.dumps(after.to_json()) == before
    assert after == frozen


def test_the_frozen_sample_gives_the_frozen_evaluation_again(running: Store) -> None:
    evaluation = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    kept = lifecycle.load_frozen(running, "exp-1")
    assert kept is not None
    again = assess(
        kept.sample,
        evaluation.experiment,
        evaluation.plan,
        evaluation.plan.started,
        as_of_ms=evaluation.as_of_ms,
        provenance=evaluation.provenance,
    )
    assert again == evaluation
    assert lifecycle.load_frozen(running, "other") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda s: lifecycle.tag(s, "exp-1", ["x"], CONTROL, now_ms=1),
        lambda s: lifecycle.untag(s, "exp-1", "old0", "why", now_ms=1),
        lambda s: tag_session(s, "exp-1", "x", CONTROL),
        lambda s: save_experiment(s, experiment(name="other")),
        lambda s: set_state(s, "exp-1", State.RUNNING, 1),
    ],
)
def test_a_frozen_experiment_and_its_tags_cannot_change(running: Store, change: Callable[[Store], object]) -> None:
    lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    with pytest.raises(FrozenError):
        change(running)


def step(store: Store, name: str) -> None:
    if name == "start":
        lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    elif name == "adopt":
        lifecycle.start(store, "exp-1", now_ms=NOW_MS, adopt=True)
    elif name == "conclude":
        lifecycle.conclude(store, "exp-1", now_ms=LATER_MS)
    elif name == "archive":
        lifecycle.archive(store, "exp-1", now_ms=LATER_MS)
    elif name == "evaluate":
        lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    else:
        lifecycle.tag(store, "exp-1", ["s"], CONTROL, now_ms=LATER_MS)


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([], "conclude"),
        ([], "evaluate"),
        ([], "adopt"),
        (["start"], "start"),
        (["start"], "archive"),
        (["start"], "adopt"),
        (["start", "conclude"], "start"),
        (["start", "conclude"], "conclude"),
        (["start", "conclude"], "tag"),
        (["archive"], "start"),
        (["archive"], "conclude"),
        (["archive"], "archive"),
        (["archive"], "evaluate"),
        (["archive"], "tag"),
    ],
)
def test_no_other_step_is_possible(store: Store, steps: list[str], refused: str) -> None:
    lifecycle.new_experiment(store, experiment(), FIXED)
    for name in steps:
        step(store, name)
    before = load_experiment(store, "exp-1")
    with pytest.raises(ExperimentError, match="exp-1"):
        step(store, refused)
    assert load_experiment(store, "exp-1") == before


def test_an_id_is_used_once(store: Store) -> None:
    lifecycle.new_experiment(store, experiment(), FIXED)
    with pytest.raises(ExperimentError, match="exists"):
        lifecycle.new_experiment(store, experiment(name="again"), FIXED)
    with pytest.raises(ExperimentError, match="only a Draft can be created"):
        lifecycle.new_experiment(store, experiment(id="2", state=State.RUNNING), FIXED)


def test_an_unknown_experiment_is_named(store: Store) -> None:
    with pytest.raises(ExperimentNotFoundError, match="nothing"):
        lifecycle.evaluate(store, "nothing", now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        (Branch(control_branch="main", treatment_branch="main"), "expected two branches"),
        (PromptFingerprint(control_fingerprint="x", treatment_fingerprint="x"), "two different ones"),
    ],
)
def test_equal_arms_are_refused_at_once(store: Store, binding: Branch | PromptFingerprint, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        lifecycle.new_experiment(store, experiment(binding=binding), FIXED)


def test_commits_are_not_randomised(store: Store) -> None:
    binding = GitCommit(control_commit="a", treatment_commit="b")
    with pytest.raises(ExperimentError, match="not randomised"):
        lifecycle.new_experiment(store, experiment(binding=binding), replace(FIXED, control_share=0.5))


def test_a_start_needs_days_a_past_and_a_repository_for_commits(store: Store) -> None:
    lifecycle.new_experiment(store, experiment(duration_days=0), FIXED)
    with pytest.raises(ExperimentError, match="duration of 0 days"):
        lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    binding = GitCommit(control_commit="a", treatment_commit="b")
    lifecycle.new_experiment(store, experiment(id="commits", binding=binding), FIXED)
    with pytest.raises(ExperimentError, match="needs the repository"):
        lifecycle.start(store, "commits", now_ms=NOW_MS)
    with pytest.raises(ExperimentError, match="lies in the future"):
        lifecycle.start(store, "commits", now_ms=NOW_MS, at_ms=NOW_MS + 1)


def test_a_retrospective_experiment_says_so_and_takes_one_fixed_look(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(at_ms=NOW_MS - 10 * DAY_MS))
    lifecycle.new_experiment(store, experiment(), Plan(planned_n=1000))
    plan = lifecycle.start(store, "exp-1", now_ms=NOW_MS, at_ms=NOW_MS - 10 * DAY_MS)
    assert plan.design is PlanDesign.FIXED
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=NOW_MS)
    assert "retrospective" in evaluation.flags
    assert (evaluation.verdict, evaluation.effective_alpha, evaluation.design) == (Verdict.MET, 0.05, "fixed")


def test_planned_sessions_come_from_todays_rate(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(50, at_ms=NOW_MS - 5 * DAY_MS))
    lifecycle.new_experiment(store, experiment(), Plan())
    assert lifecycle.start(store, "exp-1", now_ms=NOW_MS).planned_n == 50


def test_a_start_expects_the_design_effect_of_past_clusters(store: Store, add_sessions: AddSessions) -> None:
    past = arms(40, at_ms=NOW_MS - 5 * DAY_MS)
    cheap = [{**row, "id": f"cheap-{row['id']}", "tokens": 1 + i, "workspace": "/cheap"} for i, row in enumerate(past)]
    add_sessions(past + cheap)
    effects = {}
    for cluster in (Cluster.NONE, Cluster.WORKSPACE):
        lifecycle.new_experiment(store, experiment(id=cluster.value), Plan(cluster=cluster))
        lifecycle.start(store, cluster.value, now_ms=NOW_MS)
        effects[cluster] = lifecycle.get_plan(store, cluster.value).design_effect
    assert effects[Cluster.NONE] == 1.0
    assert effects[Cluster.WORKSPACE] > 10


def test_a_past_that_cannot_tell_expects_independent_sessions(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(2, at_ms=NOW_MS - 5 * DAY_MS))
    lifecycle.new_experiment(store, experiment(), Plan(cluster=Cluster.WORKSPACE))
    assert lifecycle.start(store, "exp-1", now_ms=NOW_MS).design_effect == 1.0


def test_a_plan_from_before_the_design_effect_expected_independent_sessions() -> None:
    record = Plan(planned_n=40).to_json()
    del record["design_effect"]
    assert Plan.from_json(record) == Plan(planned_n=40)


def test_nothing_to_plan_from_asks_for_a_number(store: Store) -> None:
    lifecycle.new_experiment(store, experiment(), Plan())
    with pytest.raises(ExperimentError, match="--planned-n"):
        lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    assert lifecycle.start(store, "exp-1", now_ms=NOW_MS, planned_n=40).planned_n == 40


def test_the_rule_is_the_one_that_was_frozen(running: Store) -> None:
    softer = experiment(state=State.RUNNING, success_criterion=Delta(direction=Direction.DECREASE, target_pct=-1.0))
    save_experiment(running, softer)
    evaluation = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS)
    assert evaluation.experiment.success_criterion == Delta(direction=Direction.DECREASE, target_pct=-20.0)
    assert any("edited after it started" in text for text in evaluation.quality.warnings)


def test_a_running_experiment_of_another_tool_is_adopted_first(store: Store, add_sessions: AddSessions) -> None:
    save_experiment(store, experiment(state=State.RUNNING))
    add_sessions(arms())
    with pytest.raises(ExperimentError, match="exp start exp-1 --adopt"):
        lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    plan = lifecycle.start(store, "exp-1", now_ms=LATER_MS, adopt=True, default_plan=FIXED)
    assert plan.started.window_start_ms == NOW_MS - DAY_MS
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert (evaluation.verdict, "adopted" in evaluation.flags) == (Verdict.MET, True)


def test_an_experiment_that_another_tool_concluded_is_recomputed_and_labelled(
    store: Store, add_sessions: AddSessions
) -> None:
    save_experiment(store, experiment(state=State.CONCLUDED, concluded_at_ms=LATER_MS))
    add_sessions(arms())
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert evaluation.verdict is Verdict.MET
    assert evaluation.flags[0] == "not_frozen"
    assert evaluation.quality.warnings[0].startswith("Not frozen, recomputed")


def test_guardrails_that_kaizen_lacks_stay_with_the_experiment(running: Store) -> None:
    spec = GuardrailSpec(metric=Metric.TOOL_ERROR_RATE, regression_direction=Direction.INCREASE, threshold_pct=5.0)
    lifecycle.new_experiment(running, experiment(id="guarded", guardrails=(spec,)), FIXED)
    lifecycle.start(running, "guarded", now_ms=NOW_MS)
    assert [item.spec for item in lifecycle.evaluate(running, "guarded", now_ms=LATER_MS).guardrails] == [spec]


def test_an_experiment_on_a_metric_that_kaizen_lacks_lives_as_well(running: Store) -> None:
    lifecycle.new_experiment(running, experiment(id="own", metric=Metric.TOTAL_TOKENS_PER_SESSION), FIXED)
    lifecycle.start(running, "own", now_ms=NOW_MS)
    lifecycle.tag(running, "own", ["old0"], Classification.EXCLUDED, now_ms=NOW_MS)
    evaluation = lifecycle.conclude(running, "own", now_ms=LATER_MS)
    assert evaluation.primary.control.n == 7
    assert lifecycle.evaluate(running, "own", now_ms=LATER_MS) == evaluation


# Scope and window.


def test_sessions_outside_window_and_workspaces_are_no_candidates(store: Store, add_sessions: AddSessions) -> None:
    inside = {"prompt_fingerprint": "old", "workspace": "/repo/packages/a", "started_at_ms": NOW_MS}
    add_sessions(
        [
            {"id": "inside", **inside},
            {"id": "end", **inside, "started_at_ms": LATER_MS},
            {"id": "before", **inside, "started_at_ms": NOW_MS - 1},
            {"id": "after", **inside, "started_at_ms": LATER_MS + 1},
            {"id": "elsewhere", **inside, "workspace": "/repository"},
            {"id": "other", **inside, "prompt_fingerprint": "third"},
        ]
    )
    lifecycle.new_experiment(store, experiment(), replace(FIXED, workspaces=("/repo",)))
    lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert evaluation.quality.candidates == 3
    assert evaluation.primary.control.n == 2
    assert evaluation.excluded == {"other prompt fingerprint": 1}


def test_a_tag_is_not_cut_by_the_window_and_counts_outside_the_scope(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(
        [
            {"id": "early", "started_at_ms": 5, "workspace": "/repo"},
            {"id": "elsewhere", "started_at_ms": NOW_MS, "workspace": "/other"},
            {"id": "child", "started_at_ms": NOW_MS, "workspace": "/repo", "parent_session_id": "early"},
        ]
    )
    lifecycle.new_experiment(
        store, experiment(binding=ManualTag(variant_field="")), replace(FIXED, workspaces=("/repo",))
    )
    lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    lifecycle.tag(store, "exp-1", ["early", "elsewhere", "child", "not-yet"], CONTROL, now_ms=NOW_MS)
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert evaluation.primary.control.n == 1
    assert evaluation.primary.control.median == 200
    assert evaluation.excluded == {"tagged, but outside the planned workspaces": 1}
    assert any(text.startswith("Not counted: 1 tagged session that") for text in evaluation.quality.warnings)
    assert any(text.startswith("Without effect: 1 tag of sub-agents") for text in evaluation.quality.warnings)


def test_values_in_payloads_bind_sessions(store: Store, add_sessions: AddSessions) -> None:
    field = 'arm "x"'
    values = {"a": "A", "b": "treatment", "c": "maybe"}
    add_sessions(
        [{"id": name, "started_at_ms": NOW_MS, "payload": json.dumps({field: value})} for name, value in values.items()]
        + [{"id": "d", "started_at_ms": NOW_MS}]
    )
    lifecycle.new_experiment(store, experiment(binding=ManualTag(variant_field=field)), FIXED)
    lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert (evaluation.primary.control.n, evaluation.primary.treatment.n) == (1, 1)
    assert evaluation.excluded == {"not tagged": 1, "unknown value": 1}


def test_a_session_that_another_tool_added_events_to_is_excluded(running: Store) -> None:
    with running.write():
        running.native(
            "insert into events (session_id, seq, ts_ms, kind, source, payload) "
            "values ('old0', 99, 0, 'Message', 'Tail', '{}') returning 1"
        )
    evaluation = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS)
    assert evaluation.primary.control.n == 7
    assert evaluation.excluded == {"events written by another tool": 1}


def test_tags_change_while_draft_and_running_and_conflicts_stay(running: Store) -> None:
    assert lifecycle.tag(running, "exp-1", ["s", "t"], CONTROL, now_ms=1) == 2
    assert lifecycle.tag(running, "exp-1", ["t", "u"], CONTROL, now_ms=1) == 1
    with pytest.raises(VariantConflictError, match="variant conflict"):
        lifecycle.tag(running, "exp-1", ["s"], TREATMENT, now_ms=1)
    lifecycle.untag(running, "exp-1", "s", "wrong session", now_ms=2)
    assert manual_tags(running, "exp-1") == {"t": CONTROL, "u": CONTROL}


# Real repositories.


def git(folder: Path, *arguments: str) -> str:
    identity = {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Base - change on main; topic forks from base; orphan is unrelated."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    ids = {}
    for branch, name in (("main", "base"), ("topic", "topic"), ("main", "change"), ("orphan", "orphan")):
        if name == "topic":
            git(folder, "checkout", "-q", "-b", branch)
        elif name == "orphan":
            git(folder, "checkout", "-q", "--orphan", branch)
        elif name == "change":
            git(folder, "checkout", "-q", branch)
        git(folder, "commit", "-q", "--allow-empty", "-m", name)
        ids[name] = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "main")
    return folder, ids


def commit_plan(folder: Path, **changes: object) -> Plan:
    return replace(FIXED, repository=str(folder), workspaces=(str(folder),), **changes)


def test_a_commit_experiment_looks_back_as_far_as_forward(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    common = {"workspace": str(folder)}
    add_sessions(
        [
            {"id": "too-old", "started_at_ms": NOW_MS - 15 * DAY_MS, "start_commit": ids["base"], **common},
            {"id": "control", "started_at_ms": NOW_MS - 14 * DAY_MS, "start_commit": ids["base"], **common},
            {"id": "side", "started_at_ms": NOW_MS, "start_commit": ids["topic"], "dirty_start": 1, **common},
            {"id": "treatment", "started_at_ms": NOW_MS + 1, "start_commit": ids["change"], **common},
            {"id": "unknown", "started_at_ms": NOW_MS, "start_commit": "f" * 40, **common},
            {"id": "none", "started_at_ms": NOW_MS, "start_commit": None, **common},
        ]
    )
    binding = GitCommit(control_commit="main~1", treatment_commit="main")
    lifecycle.new_experiment(store, experiment(binding=binding), commit_plan(folder))
    plan = lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    assert (plan.started.control_ref, plan.started.treatment_ref) == (ids["base"], ids["change"])
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert (evaluation.primary.control.n, evaluation.primary.treatment.n) == (2, 1)
    assert evaluation.excluded == {"no commit": 1, "unknown commit": 1}
    assert evaluation.flags == ("before_after", "dirty", "side_branch")


@pytest.mark.parametrize(
    ("control", "treatment", "message"),
    [
        ("main", "main", "the same commit"),
        ("main", "main~1", "lies before the control commit"),
        ("orphan", "main", "is not an ancestor"),
        ("topic", "main", "is not an ancestor"),
        ("nowhere", "main", "is not a commit"),
    ],
)
def test_start_refuses_commits_that_cannot_be_before_and_after(
    store: Store, repository: tuple[Path, dict[str, str]], control: str, treatment: str, message: str
) -> None:
    binding = GitCommit(control_commit=control, treatment_commit=treatment)
    lifecycle.new_experiment(store, experiment(binding=binding), commit_plan(repository[0]))
    with pytest.raises(KaizenError, match=message):
        lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    assert load_experiment(store, "exp-1").state is State.DRAFT


def test_merging_and_deleting_a_branch_later_changes_nothing(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    common = {"workspace": str(folder), "started_at_ms": NOW_MS}
    add_sessions(
        [
            {"id": "recorded", "branch": "topic", "start_commit": ids["topic"], **common},
            {"id": "main", "start_commit": ids["change"], "branch": None, **common},
            {"id": "topic", "start_commit": ids["topic"], "branch": None, **common},
            {"id": "fork", "start_commit": ids["base"], "branch": None, **common},
        ]
    )
    binding = Branch(control_branch="main", treatment_branch="topic")
    lifecycle.new_experiment(store, experiment(binding=binding), commit_plan(folder))
    plan = lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    assert (plan.started.control_ref, plan.started.treatment_ref) == (ids["change"], ids["topic"])
    before = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    git(folder, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    git(folder, "branch", "-q", "-D", "topic")
    after = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)
    assert after == before
    assert (after.primary.control.n, after.primary.treatment.n) == (1, 2)
    assert after.excluded == {"on both branches": 1}


def test_a_repository_that_is_gone_is_an_error_not_a_control_session(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    binding = GitCommit(control_commit="main~1", treatment_commit="main")
    lifecycle.new_experiment(store, experiment(binding=binding), commit_plan(folder))
    lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    add_sessions([{"id": "s", "started_at_ms": NOW_MS, "workspace": str(folder), "start_commit": ids["base"]}])
    folder.rename(folder.with_name("moved"))
    with pytest.raises(RepositoryError, match="is not a folder"):
        lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)


def test_the_planned_control_arm_of_a_commit_experiment_is_the_past(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    common = {"workspace": str(folder), "start_commit": ids["base"]}
    add_sessions([{"id": f"s{i}", "started_at_ms": NOW_MS - DAY_MS + i, **common} for i in range(45)])
    binding = GitCommit(control_commit="main~1", treatment_commit="main")
    planned = replace(commit_plan(folder), design=PlanDesign.PLANNED)
    lifecycle.new_experiment(store, experiment(binding=binding), planned)
    plan = lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    assert (plan.planned_control_n, plan.planned_n) == (45, 45)


# Several processes, and one that dies.

SCRIPT = """
import os, signal, sys
from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.store import Store

if sys.argv[2] == "die":
    lifecycle.write_result = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
with Store.open(sys.argv[1]) as store:
    try:
        lifecycle.conclude(store, "exp-1", now_ms=int(sys.argv[3]))
    except ExperimentError as error:
        print(error)
    else:
        print("concluded")
"""


def conclude_elsewhere(store: Store, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(store.path), how, str(LATER_MS)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_of_two_processes_that_conclude_one_does(running: Store) -> None:
    processes = [conclude_elsewhere(running, "live") for _ in range(2)]
    answers = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert answers == [
        "Experiment exp-1 is Concluded and cannot become Concluded; it can become Archived.",
        "concluded",
    ]
    assert lifecycle.load_frozen(running, "exp-1").sample.height == 16


def test_a_process_that_dies_while_concluding_leaves_the_experiment_running(running: Store) -> None:
    process = conclude_elsewhere(running, "die")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert load_experiment(running, "exp-1").state is State.RUNNING
    assert lifecycle.load_frozen(running, "exp-1") is None
    assert lifecycle.conclude(running, "exp-1", now_ms=LATER_MS).verdict is Verdict.MET

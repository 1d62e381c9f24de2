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
from experiment_cases import DAY_MS, commit, git, make_experiment, make_repository

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import (
    ConfigError,
    ExperimentError,
    FrozenError,
    KaizenError,
    RepositoryError,
    VariantConflictError,
)
from kaizen_analytics.core.model import (
    Branch,
    Classification,
    Delta,
    DesignKind,
    Direction,
    Experiment,
    GitCommit,
    ManualTag,
    PromptFingerprint,
    State,
)
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.decide import Verdict
from kaizen_analytics.experiments.evaluation import CautionKind, Evaluation
from kaizen_analytics.experiments.plan import Cluster, Plan, get_plan
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import (
    load_experiment,
    load_result,
    manual_tags,
    save_experiment,
)

NOW_MS = 100 * DAY_MS
LATER_MS = NOW_MS + 14 * DAY_MS
CONTROL, TREATMENT = Classification.CONTROL, Classification.TREATMENT
FIXED = Plan(design=DesignKind.FIXED)
PROMPTS = PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new")

AddSessions = Callable[[list[dict[str, object]]], None]


def experiment(**changes: object) -> Experiment:
    return make_experiment(**{"binding": PROMPTS, "created_at_ms": NOW_MS - DAY_MS, **changes})


def began(store: Store, plan: Plan = FIXED, **changes: object) -> Plan:
    """Store a draft and start it now."""
    lifecycle.new_experiment(store, experiment(**changes), plan)
    return lifecycle.start(store, "exp-1", now_ms=NOW_MS)


def evaluated(store: Store) -> Evaluation:
    return lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)


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
    began(store)
    add_sessions(arms())
    return store


def test_a_whole_life(running: Store) -> None:
    live = evaluated(running)
    assert (live.verdict, live.experiment.state, live.primary.control.n) == (Verdict.MET, State.RUNNING, 8)
    frozen = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    assert frozen.experiment.concluded_at_ms == LATER_MS
    assert lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 1) == frozen
    lifecycle.archive(running, "exp-1", now_ms=LATER_MS + 2)
    archived = lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 3)
    assert archived.experiment.state is State.ARCHIVED
    assert replace(archived, experiment=frozen.experiment) == frozen


def test_a_concluded_experiment_keeps_its_digits_whatever_happens_to_the_sessions(
    running: Store, add_sessions: AddSessions
) -> None:
    frozen = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    add_sessions([{**row, "tokens": 1} for row in arms(20)])
    assert lifecycle.evaluate(running, "exp-1", now_ms=LATER_MS + 99 * DAY_MS) == frozen


def test_the_frozen_sample_gives_the_frozen_evaluation_again(running: Store) -> None:
    _, _, live = lifecycle.read_judged_sample(running, "exp-1", now_ms=LATER_MS)
    evaluation = lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    experiment, plan, frozen = lifecycle.read_judged_sample(running, "exp-1", now_ms=LATER_MS)
    assert (experiment, plan) == (evaluation.experiment, evaluation.plan)
    again = assess(
        frozen,
        evaluation.experiment,
        evaluation.plan,
        evaluation.plan.started,
        as_of_ms=evaluation.as_of_ms,
        provenance=evaluation.provenance,
    )
    assert again == evaluation
    assert frozen.equals(live)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: lifecycle.tag(s, "exp-1", ["x"], CONTROL, now_ms=1),
        lambda s: lifecycle.untag(s, "exp-1", "old0", "why", now_ms=1),
    ],
)
def test_a_frozen_experiment_and_its_tags_cannot_change(running: Store, change: Callable[[Store], object]) -> None:
    lifecycle.conclude(running, "exp-1", now_ms=LATER_MS)
    with pytest.raises(FrozenError):
        change(running)


def step(store: Store, name: str) -> None:
    if name == "start":
        lifecycle.start(store, "exp-1", now_ms=NOW_MS)
    elif name == "conclude":
        lifecycle.conclude(store, "exp-1", now_ms=LATER_MS)
    elif name == "archive":
        lifecycle.archive(store, "exp-1", now_ms=LATER_MS)
    elif name == "evaluate":
        evaluated(store)
    else:
        lifecycle.tag(store, "exp-1", ["s"], CONTROL, now_ms=LATER_MS)


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([], "conclude"),
        ([], "evaluate"),
        (["start"], "start"),
        (["start"], "archive"),
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
    with pytest.raises(ExperimentError, match="is Running, not Draft; it cannot be created"):
        lifecycle.new_experiment(store, experiment(id="2", state=State.RUNNING), FIXED)


def test_a_draft_is_edited_and_checked_again(store: Store) -> None:
    lifecycle.new_experiment(store, experiment(), FIXED)
    edited, plan = lifecycle.edit(store, "exp-1", {"duration_days": 21}, {"planned_n": 30})
    assert (edited, plan) == (load_experiment(store, "exp-1"), get_plan(store, "exp-1"))
    assert (edited.duration_days, plan.planned_n) == (21, 30)
    with pytest.raises(ConfigError, match="name is empty"):
        lifecycle.edit(store, "exp-1", {"name": " "}, {})
    assert load_experiment(store, "exp-1") == edited


def test_an_experiment_is_cancelled_only_while_it_shows_nothing(store: Store, add_sessions: AddSessions) -> None:
    began(store, FIXED)
    with pytest.raises(ConfigError, match="needs a reason"):
        lifecycle.cancel(store, "exp-1", " ", now_ms=NOW_MS)
    assert lifecycle.cancel(store, "exp-1", "wrong arm", now_ms=NOW_MS).state is State.ARCHIVED
    assert get_plan(store, "exp-1").cancelled == "wrong arm"
    lifecycle.new_experiment(store, experiment(id="exp-2"), FIXED)
    lifecycle.start(store, "exp-2", now_ms=NOW_MS)
    add_sessions(arms())
    with pytest.raises(ExperimentError, match="8 control and 8 treatment sessions"):
        lifecycle.cancel(store, "exp-2", "no luck", now_ms=LATER_MS)
    assert load_experiment(store, "exp-2").state is State.RUNNING


COMMITS = GitCommit(control_commit="a", treatment_commit="b")


@pytest.mark.parametrize(
    ("changes", "plan", "message"),
    [
        ({"binding": Branch("main", "main")}, FIXED, "expected two branches"),
        ({"binding": PromptFingerprint("x", "x")}, FIXED, "two different ones"),
        ({"binding": COMMITS}, replace(FIXED, control_share=0.5), "not randomised"),
        ({"duration_days": 0}, FIXED, "duration is 0 days"),
        ({"binding": COMMITS}, FIXED, "needs the repository"),
        ({}, Plan(), "--planned-n"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_it_starts(store: Store, changes, plan: Plan, message: str) -> None:
    with pytest.raises(KaizenError, match=message):
        began(store, plan, **changes)
    stored = load_experiment(store, "exp-1")
    assert stored is None or stored.state is State.DRAFT


def test_a_start_takes_a_time_in_the_past_and_a_number_of_sessions(store: Store) -> None:
    lifecycle.new_experiment(store, experiment(), Plan())
    with pytest.raises(ExperimentError, match="lies in the future"):
        lifecycle.start(store, "exp-1", now_ms=NOW_MS, at_ms=NOW_MS + 1)
    assert lifecycle.start(store, "exp-1", now_ms=NOW_MS, planned_n=40).planned_n == 40


def test_a_retrospective_experiment_says_so_and_is_analysed_once(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(at_ms=NOW_MS - 10 * DAY_MS))
    lifecycle.new_experiment(store, experiment(), Plan(planned_n=1000))
    plan = lifecycle.start(store, "exp-1", now_ms=NOW_MS, at_ms=NOW_MS - 10 * DAY_MS)
    assert plan.design is DesignKind.FIXED
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=NOW_MS)
    assert "retrospective" in evaluation.flags
    assert (evaluation.verdict, evaluation.effective_alpha, evaluation.design) == (Verdict.MET, 0.05, "fixed")


def test_the_size_is_planned_from_todays_rate(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(50, at_ms=NOW_MS - 5 * DAY_MS))
    assert began(store, Plan()).planned_n == 50


def test_a_start_expects_the_design_effect_of_past_clusters(store: Store, add_sessions: AddSessions) -> None:
    past = arms(40, at_ms=NOW_MS - 5 * DAY_MS)
    cheap = [{**row, "id": f"cheap-{row['id']}", "tokens": 1 + i, "workspace": "/cheap"} for i, row in enumerate(past)]
    add_sessions(past + cheap)
    effects = {}
    for cluster in (Cluster.NONE, Cluster.WORKSPACE):
        lifecycle.new_experiment(store, experiment(id=cluster.value), Plan(cluster=cluster))
        lifecycle.start(store, cluster.value, now_ms=NOW_MS)
        effects[cluster] = get_plan(store, cluster.value).design_effect
    assert effects[Cluster.NONE] == 1.0
    assert effects[Cluster.WORKSPACE] > 10


def test_a_past_that_cannot_tell_expects_independent_sessions(store: Store, add_sessions: AddSessions) -> None:
    add_sessions(arms(2, at_ms=NOW_MS - 5 * DAY_MS))
    assert began(store, Plan(cluster=Cluster.WORKSPACE)).design_effect == 1.0
    record = codec.store(Plan(planned_n=40))
    del record["design_effect"]
    assert codec.load(Plan, record) == Plan(planned_n=40), "the first plans had none"


def test_the_rule_is_the_one_that_was_frozen(running: Store) -> None:
    softer = experiment(state=State.RUNNING, success_criterion=Delta(direction=Direction.DECREASE, target_pct=-1.0))
    save_experiment(running, softer)
    evaluation = evaluated(running)
    assert evaluation.experiment.success_criterion == Delta(direction=Direction.DECREASE, target_pct=-20.0)
    assert "edited" in evaluation.flags


def test_a_running_experiment_that_was_imported_gets_its_plan_first(store: Store, add_sessions: AddSessions) -> None:
    save_experiment(store, experiment(state=State.RUNNING))
    add_sessions(arms())
    for refused in (lifecycle.evaluate, lifecycle.conclude):
        with pytest.raises(ExperimentError, match="exp start exp-1"):
            refused(store, "exp-1", now_ms=LATER_MS)
    assert load_experiment(store, "exp-1").state is State.RUNNING
    plan = lifecycle.start(store, "exp-1", now_ms=LATER_MS, default_plan=FIXED)
    assert plan.started.window_start_ms == NOW_MS - DAY_MS
    evaluation = evaluated(store)
    assert (evaluation.verdict, "adopted" in evaluation.flags) == (Verdict.MET, True)


def test_an_experiment_that_another_tool_concluded_is_recomputed_and_labelled(
    store: Store, add_sessions: AddSessions
) -> None:
    save_experiment(store, experiment(state=State.CONCLUDED, concluded_at_ms=LATER_MS))
    add_sessions(arms())
    evaluation = evaluated(store)
    assert evaluation.verdict is Verdict.MET
    assert evaluation.flags[0] == "not_frozen"


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
    began(store, replace(FIXED, workspaces=("/repo",)))
    evaluation = lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS + 3_600_000)
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
    began(store, replace(FIXED, workspaces=("/repo",)), binding=ManualTag(variant_field=""))
    lifecycle.tag(store, "exp-1", ["early", "elsewhere", "child", "not-yet"], CONTROL, now_ms=NOW_MS)
    evaluation = evaluated(store)
    assert evaluation.primary.control.n == 1
    assert evaluation.primary.control.median == 200
    assert evaluation.excluded == {"tagged, but outside the planned workspaces": 1}
    cautions = {caution.kind: caution.count for caution in evaluation.quality.cautions}
    assert cautions == {CautionKind.WAITING_TAGS: 1, CautionKind.DELEGATED_TAGS: 1}


def test_values_in_payloads_bind_sessions(store: Store, add_sessions: AddSessions) -> None:
    field = 'arm "x"'
    values = {"a": "A", "b": "treatment", "c": "maybe"}
    add_sessions(
        [{"id": name, "started_at_ms": NOW_MS, "payload": json.dumps({field: value})} for name, value in values.items()]
        + [{"id": "d", "started_at_ms": NOW_MS}]
    )
    began(store, binding=ManualTag(variant_field=field))
    evaluation = evaluated(store)
    assert (evaluation.primary.control.n, evaluation.primary.treatment.n) == (1, 1)
    assert evaluation.excluded == {"not tagged": 1, "unknown value": 1}


def test_tags_change_while_draft_and_running_and_conflicts_stay(running: Store) -> None:
    assert lifecycle.tag(running, "exp-1", ["s", "t"], CONTROL, now_ms=1) == 2
    assert lifecycle.tag(running, "exp-1", ["t", "u"], CONTROL, now_ms=1) == 1
    with pytest.raises(VariantConflictError, match="variant conflict"):
        lifecycle.tag(running, "exp-1", ["s"], TREATMENT, now_ms=1)
    lifecycle.untag(running, "exp-1", "s", "wrong session", now_ms=2)
    assert manual_tags(running, "exp-1") == {"t": CONTROL, "u": CONTROL}


# Real repositories.


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Base - change on main; topic forks from base; orphan is unrelated."""
    folder = make_repository(tmp_path / "repo")
    ids = {}
    for branch, name in (("main", "base"), ("topic", "topic"), ("main", "change"), ("orphan", "orphan")):
        if name == "topic":
            git(folder, "checkout", "-q", "-b", branch)
        elif name == "orphan":
            git(folder, "checkout", "-q", "--orphan", branch)
        elif name == "change":
            git(folder, "checkout", "-q", branch)
        ids[name] = commit(folder, name)
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
    plan = began(store, commit_plan(folder), binding=binding)
    assert (plan.started.control_ref, plan.started.treatment_ref) == (ids["base"], ids["change"])
    evaluation = evaluated(store)
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
    with pytest.raises(KaizenError, match=message):
        began(store, commit_plan(repository[0]), binding=binding)
    assert load_experiment(store, "exp-1") is None


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
    plan = began(store, commit_plan(folder), binding=binding)
    assert (plan.started.control_ref, plan.started.treatment_ref) == (ids["change"], ids["topic"])
    before = evaluated(store)
    git(folder, "merge", "-q", "--no-ff", "-m", "merge", "topic")
    git(folder, "branch", "-q", "-D", "topic")
    after = evaluated(store)
    assert after == before
    assert (after.primary.control.n, after.primary.treatment.n) == (1, 2)
    assert after.excluded == {"on both branches": 1}


def test_a_repository_that_is_gone_is_an_error_not_a_control_session(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    binding = GitCommit(control_commit="main~1", treatment_commit="main")
    began(store, commit_plan(folder), binding=binding)
    add_sessions([{"id": "s", "started_at_ms": NOW_MS, "workspace": str(folder), "start_commit": ids["base"]}])
    folder.rename(folder.with_name("moved"))
    with pytest.raises(RepositoryError, match="is not a folder"):
        evaluated(store)


def test_the_planned_control_arm_of_a_commit_experiment_is_the_past(
    store: Store, add_sessions: AddSessions, repository: tuple[Path, dict[str, str]]
) -> None:
    folder, ids = repository
    common = {"workspace": str(folder), "start_commit": ids["base"]}
    add_sessions([{"id": f"s{i}", "started_at_ms": NOW_MS - DAY_MS + i, **common} for i in range(45)])
    binding = GitCommit(control_commit="main~1", treatment_commit="main")
    plan = began(store, commit_plan(folder, design=DesignKind.PLANNED), binding=binding)
    assert (plan.planned_control_n, plan.planned_n) == (45, 45)


# Several processes, and one that dies.

SCRIPT = """
import os, signal, sys
from kaizen_analytics.core.errors import ExperimentError
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


@pytest.mark.slow
def test_of_two_processes_that_conclude_one_does(running: Store) -> None:
    processes = [conclude_elsewhere(running, "live") for _ in range(2)]
    answers = sorted(process.communicate(timeout=120)[0].strip() for process in processes)
    assert answers == [
        "Experiment exp-1 is Concluded and cannot become Concluded; it can become Archived.",
        "concluded",
    ]
    assert load_result(running, "exp-1") is not None


@pytest.mark.slow
def test_a_process_that_dies_while_concluding_leaves_the_experiment_running(running: Store) -> None:
    process = conclude_elsewhere(running, "die")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert load_experiment(running, "exp-1").state is State.RUNNING
    assert load_result(running, "exp-1") is None
    assert lifecycle.conclude(running, "exp-1", now_ms=LATER_MS).verdict is Verdict.MET

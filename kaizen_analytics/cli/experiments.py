"""`exp …`: plan, run, judge and conclude experiments."""

from __future__ import annotations

import getpass
import json
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from kaizen_analytics.cli.arms import (
    ArmOptions,
    AssignOption,
    check_text_fits,
    plan_lot,
    publish_running,
)
from kaizen_analytics.cli.experiment_list import IdArgument
from kaizen_analytics.cli.lake import LakeOptions
from kaizen_analytics.cli.options import (
    ShareOption,
    StoreOption,
    command,
    locate,
    open_store,
    parse_member,
    repeat_store,
    resolve_folder,
)
from kaizen_analytics.cli.output import has_colour, print_lines, print_page, print_table, terminal_width
from kaizen_analytics.cli.reports import ReportOptions, make_reports
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.metrics import parse_metric
from kaizen_analytics.core.model import Experiment, GuardrailSpec, WorkUnit
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted, format_moment
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assignment import count_units, load_contents
from kaizen_analytics.experiments.draft import build_binding, build_criterion, parse_guardrail
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.lifecycle import new_experiment
from kaizen_analytics.experiments.plan import Cluster, Plan, Statistic, get_plan
from kaizen_analytics.experiments.power import compute_power
from kaizen_analytics.experiments.sample import read_scope
from kaizen_analytics.experiments.sizing import expect_reach
from kaizen_analytics.experiments.tasks import add_up_past, default_guardrails
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.pages import plans, sentences
from kaizen_analytics.pages.documents import evaluation_document, power_document
from kaizen_analytics.pages.summary import render_box, render_text
from kaizen_analytics.reports.sharing import prepare_share
from kaizen_analytics.retro.proposal import Proposal, open_proposal
from kaizen_analytics.stats import DesignKind
from kaizen_analytics.store.assignments import read_draws
from kaizen_analytics.store.experiments import get_experiment, manual_tags

_NameOption = Annotated[str | None, typer.Option(help="What the experiment is called.")]
_MetricOption = Annotated[str | None, typer.Option(help="What is measured; docs/reference/metrics.md lists all.")]
_HypothesisOption = Annotated[str | None, typer.Option(help="What is expected, and why.")]
_ChangeOption = Annotated[str | None, typer.Option(help="What is changed.")]
_TargetOption = Annotated[float | None, typer.Option("--target-pct", help="Percent change to prove, such as -10.")]
_DaysOption = Annotated[int | None, typer.Option(help="Days to collect. Default: 14.")]
_PlannedOption = Annotated[
    int | None, typer.Option("--planned-n", help="Sessions per arm. Default: from today's rate, at the start.")
]
_GuardrailOption = Annotated[
    list[str] | None,
    typer.Option(metavar="METRIC:DIRECTION:PERCENT", help="A metric that must not move so; may be repeated."),
]
_AlphaOption = Annotated[
    float | None, typer.Option(help="Error level of the whole experiment, all analyses together. Default: 0.05.")
]
_DesignOption = Annotated[
    str | None,
    typer.Option(
        metavar="fixed|planned|open",
        help="One analysis at the end; at any time up to the planned sessions; or at any time without an end. "
        "Default: planned.",
    ),
]
_StatisticOption = Annotated[
    str | None,
    typer.Option(
        metavar="median|mean",
        help="How tokens, cost and minutes are compared: the typical session, or the average one (the bill). "
        "Default: median.",
    ),
]
_UnitOption = Annotated[
    str,
    typer.Option(
        "--unit",
        metavar="session|task|day",
        help="What metrics are added up over before arms are compared. A task is a pull request, else a branch of its "
        "own, else a session.",
    ),
]
_ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="none|day|branch|workspace|user|organisation",
        help="Whose sessions resemble each other. Default: none within one workspace, else workspace; --bind git: day.",
    ),
]
_WorkspaceOption = Annotated[
    list[str] | None,
    typer.Option("--workspace", metavar="PATH", parser=resolve_folder, help="Sessions that count; may be repeated."),
]
_AllWorkspacesOption = Annotated[bool, typer.Option("--all-workspaces", help="Sessions of every workspace count.")]

_LATE = "The change is older than a day, so the result is exploratory; 'exp start --at now' begins anew instead."

app = typer.Typer()


@command(
    app,
    "new",
    'exp new --name "Testing rule" --metric cost_per_session --target-pct -10 \\\n'
    "    --assign session --treatment-file .claude/rules/testing.md",
    'exp new --name "Shorter CLAUDE.md" --metric tokens_per_session --target-pct -10 \\\n'
    "    --bind git --control-commit v1.4 --treatment-commit v1.5 --guardrail success_rate:decrease:5",
    'exp new --name "Plan first" --metric cost_per_session --target-pct -15 --bind manual',
    "exp new --from-finding wrong-command-8d0b13",
)
def _new(
    *,
    from_finding: Annotated[
        str | None,
        typer.Option(
            "--from-finding",
            metavar="ID",
            help="Try the change of a retro's finding by lot; what is not given is taken from it.",
        ),
    ] = None,
    name: _NameOption = None,
    metric: _MetricOption = None,
    bind: Annotated[
        str | None, typer.Option(metavar="git|branch|prompt|manual", help="How sessions are assigned to arms.")
    ] = None,
    hypothesis: _HypothesisOption = None,
    change: _ChangeOption = None,
    target_pct: _TargetOption = None,
    direction: Annotated[
        str | None, typer.Option(metavar="increase|decrease", help="Default: the metric's better side.")
    ] = None,
    absolute: Annotated[
        float | None, typer.Option(help="A value for the treatment arm to reach, instead of a change.")
    ] = None,
    duration_days: _DaysOption = None,
    control_commit: Annotated[str | None, typer.Option(help="--bind git: the commit before the change.")] = None,
    treatment_commit: Annotated[str | None, typer.Option(help="--bind git: the commit with the change.")] = None,
    control_branch: Annotated[str | None, typer.Option(help="--bind branch: without the change.")] = None,
    treatment_branch: Annotated[str | None, typer.Option(help="--bind branch: with the change.")] = None,
    control_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the old instructions.")] = None,
    treatment_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the new instructions.")] = None,
    variant_field: Annotated[str, typer.Option(help="--bind manual: a payload key that holds A or B.")] = "",
    assign: AssignOption = None,
    control: ArmOptions,
    treatment: ArmOptions,
    guardrail: _GuardrailOption = None,
    alpha: _AlphaOption = None,
    statistic: _StatisticOption = None,
    margin: Annotated[float | None, typer.Option(help="Changes below this many percent count as none.")] = None,
    no_default_guardrails: Annotated[
        bool,
        typer.Option(
            "--no-default-guardrails", help="Leave out the guardrails on checks and on the work done that are added."
        ),
    ] = False,
    unit: _UnitOption = "session",
    cluster: _ClusterOption = None,
    design: _DesignOption = None,
    planned_n: _PlannedOption = None,
    no_covariate: Annotated[
        bool, typer.Option("--no-covariate", help="--assign: do not adjust for the metric before the start.")
    ] = False,
    split: Annotated[
        float | None,
        typer.Option(help="Percent of units that a random assignment puts into the control arm. With --assign: 50."),
    ] = None,
    lookback_days: Annotated[
        int | None, typer.Option(help="--bind git: days before the start that count. Default: the duration.")
    ] = None,
    workspace: _WorkspaceOption = None,
    all_workspaces: _AllWorkspacesOption = False,
    experiment_id: Annotated[str | None, typer.Option("--id", help="The id. Default: a random one.")] = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """Plan an experiment: a change, a metric, a rule for success.

    Needed are --name, --metric, --bind and --target-pct or --absolute; with --from-finding nothing. Defaults of your
    own are in kaizen.toml.
    """
    proposal = None
    if from_finding is not None:
        with open_store(store, read_only=True) as opened:
            proposal = open_proposal(opened, from_finding)
    if proposal is not None and bind is None and assign is None:
        assign = "session"
    if proposal is not None and not workspace and not all_workspaces:
        workspace = [proposal.repository]
    lot, contents = plan_lot(assign, control, treatment, None if proposal is None else proposal.content)
    if lot is not None and cluster is not None:
        raise ConfigError("--assign sets the cluster: the unit that is drawn. Leave --cluster out.")
    usual = _read_defaults()
    given = {
        "name": name,
        "metric": metric,
        "bind": bind or (None if lot is None else "manual"),
        "hypothesis": hypothesis,
        "change": change,
        "target_pct": target_pct,
        "absolute": absolute,
        "duration_days": usual["duration_days"] if duration_days is None else duration_days,
        "guardrail": guardrail or usual["guardrails"],
        "planned_n": planned_n,
        "control_fingerprint": control_fingerprint,
        "treatment_fingerprint": treatment_fingerprint,
    }
    asked = _fill_in(given, proposal)
    measured = parse_metric(asked["metric"])
    arms = {
        "control_commit": control_commit,
        "treatment_commit": treatment_commit,
        "control_branch": control_branch,
        "treatment_branch": treatment_branch,
        "control_fingerprint": asked["control_fingerprint"],
        "treatment_fingerprint": asked["treatment_fingerprint"],
    }
    experiment = Experiment(
        id=_check_id(str(uuid.uuid4()) if experiment_id is None else experiment_id),
        name=asked["name"],
        hypothesis=asked["hypothesis"] or "",
        change_description=asked["change"] or "",
        metric=measured,
        binding=build_binding(asked["bind"], arms, variant_field),
        duration_days=14 if asked["duration_days"] is None else asked["duration_days"],
        success_criterion=build_criterion(
            measured, target_pct=asked["target_pct"], direction=direction, absolute=absolute
        ),
        created_at_ms=read_clock(),
        guardrails=tuple(parse_guardrail(text) for text in asked["guardrail"] or ()),
    )
    plan = _build_plan(
        workspace,
        every=all_workspaces,
        bind=asked["bind"],
        alpha=usual["alpha"] if alpha is None else alpha,
        statistic=statistic or usual["statistic"],
        margin_pct=margin,
        cluster=cluster if lot is None else "none",  # the cluster is what is drawn
        unit=unit,
        design=design or usual["design"],
        planned_n=asked["planned_n"],
        lookback_days=lookback_days,
        control_share=split / 100 if split is not None else None if lot is None else 0.5,
        covariate=not no_covariate,
        randomisation=lot,
    )
    with open_store(store) as opened:
        added: tuple[GuardrailSpec, ...] = ()
        if not no_default_guardrails:
            past = read_scope(opened, plan.workspaces)
            added = default_guardrails(past, experiment, now_ms=experiment.created_at_ms)
        experiment = replace(experiment, guardrails=(*experiment.guardrails, *added))
        new_experiment(opened, experiment, plan, contents)
    yield {**_describe(experiment, plan), "finding": None if proposal is None else proposal.finding}
    lines = [f"Created {experiment.id}: {experiment.name}"]
    lines += [f"Guardrail: {plans.guardrail_rule(spec)}." for spec in experiment.guardrails]
    if added:
        lines.append(f"By default: {counted(len(added), 'guardrail')}; --no-default-guardrails leaves them out.")
    if proposal is not None:
        lines.append(f"It is to prove the finding {proposal.finding}. {proposal.note}")
    print_lines(*lines, then=f"kaizen-analytics exp start {experiment.id}{repeat_store(store)}")


@command(app, "edit", "exp edit 3f2a --duration-days 21")
def _edit(
    experiment_id: IdArgument,
    *,
    name: _NameOption = None,
    hypothesis: _HypothesisOption = None,
    change: _ChangeOption = None,
    metric: _MetricOption = None,
    target_pct: _TargetOption = None,
    duration_days: _DaysOption = None,
    guardrail: _GuardrailOption = None,
    planned_n: _PlannedOption = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """Change a draft. Guardrails that are given replace all of them. How arms are assigned takes a new draft."""
    given = {"name": name, "hypothesis": hypothesis, "change_description": change, "duration_days": duration_days}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    if guardrail:
        changes["guardrails"] = tuple(parse_guardrail(text) for text in guardrail)
    if metric is not None and target_pct is None:
        raise ConfigError("Another metric needs another target: give --target-pct too.")
    plan_changes = {} if planned_n is None else {"planned_n": planned_n}
    if not changes and not plan_changes and target_pct is None:
        raise ConfigError("Nothing to change was given; 'kaizen-analytics exp edit --help' lists what can be.")
    with open_store(store) as opened:
        measured = get_experiment(opened, experiment_id).metric if metric is None else parse_metric(metric)
        if target_pct is not None:
            changes |= {"metric": measured, "success_criterion": build_criterion(measured, target_pct=target_pct)}
        edited, plan = lifecycle.edit(opened, experiment_id, changes, plan_changes)
    yield _describe(edited, plan)
    print_lines(f"Changed {edited.id}: {edited.name}")


def _check_id(text: str) -> str:
    """Return an id that can be typed.

    Raises:
        ConfigError: it is empty, or holds spaces or hidden characters.
    """
    if not text or not text.isprintable() or " " in text:
        raise ConfigError(f"The id is {text!r}; expected one word.")
    return text


def _read_defaults() -> dict[str, Any]:
    """Return the defaults of the options of `new` and `power`: those of kaizen.toml before ours."""
    ours = {"duration_days": None, "guardrails": None, "alpha": 0.05, "statistic": "median", "design": "planned"}
    return {**ours, **read_settings(os.environ, Path.home(), Path.cwd()).experiments}


def _fill_in(given: dict[str, Any], proposal: Proposal | None) -> dict[str, Any]:
    """Return the options of `new` with what a finding adds to them.

    Raises:
        ConfigError: something needed is neither given nor in the finding.
    """
    asked = given if proposal is None else proposal.complete(given)
    options = {"name": "--name", "metric": "--metric", "bind": "--bind (or --assign)"}
    missing = [option for name, option in options.items() if asked[name] is None]
    if missing:
        raise ConfigError(
            f"'exp new' needs {' and '.join(missing)} too. "
            "Or give --from-finding ID, to take what is missing from a finding of a retro."
        )
    return asked


@command(app, "start", "exp start 3f2a --at 2026-09-01")
def _start(
    experiment_id: IdArgument,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When a change of the past was made; 'now' for a new one. Default: the date of a treatment commit "
            f"that is older than a day, else now. {TIME_HELP}",
        ),
    ] = None,
    planned_n: _PlannedOption = None,
    workspace: _WorkspaceOption = None,
    all_workspaces: _AllWorkspacesOption = False,
    store: StoreOption = None,
) -> Iterator[object]:
    """Start a draft and freeze its plan.

    Commits and branches are resolved to full ids. A running experiment that was imported gets its plan: its window
    begins with --at, or when it was created. The scope (--workspace) is that of 'exp new'; it is only asked for
    where the experiment was imported.
    """
    now_ms = read_clock()
    with open_store(store) as opened:
        found = get_experiment(opened, experiment_id).id
        draft = get_plan(opened, found)
        check_text_fits(opened, found, draft)
        made_ms = None if at is not None else lifecycle.date_of_change(opened, found, now_ms)
        plan = lifecycle.start(
            opened,
            found,
            now_ms=now_ms,
            at_ms=made_ms if at in (None, "now") else parse_optional_time(at, now_ms),
            planned_n=planned_n,
            default_plan=None if draft is not None else _build_plan(workspace, every=all_workspaces),
        )
        experiment = get_experiment(opened, found)
        publish_running(opened)
        contents = load_contents(opened, found)
        reach = expect_reach(opened, experiment, plan, now_ms)
        units = None if plan.randomisation is None else count_units(opened, plan, plan.randomisation.unit, now_ms)
    warning = None if reach is None else sentences.reach(reach)
    done = {"reach": codec.plain(reach), "past_units": codec.plain(units), "warning": warning}
    yield {**_describe(experiment, plan), **done}
    part = []
    if plan.randomisation is not None and units is not None:
        part = [
            plans.past_units(plan.randomisation.unit, units),
            f"To take part, {plans.how_to_take_part(found, contents)}.",
        ]
    window = plan.require_start(found).window
    size = "" if plan.planned_n is None else f", {plan.planned_n} sessions per arm"
    print_lines(
        f"Started {found}: sessions from {format_moment(window.start_ms)} to {format_moment(window.end_ms)}, "
        f"{plan.design} design{size}",
        *([] if made_ms is None else [_LATE]),
        *part,
        *([] if warning is None else [f"Warning: {warning}"]),
        then=f"kaizen-analytics exp evaluate {found}{repeat_store(store)}",
    )


@command(app, "show", "exp show 3f2a")
def _show(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """Show an experiment, its plan and how many sessions are tagged."""
    with open_store(store) as opened:
        experiment = get_experiment(opened, experiment_id)
        plan = get_plan(opened, experiment.id)
        tagged = len(manual_tags(opened, experiment.id))
        drawn = read_draws(opened, experiment.id)
        contents = load_contents(opened, experiment.id)
    more = {"tags": tagged, "draws": codec.plain(drawn), "arms": codec.plain(contents)}
    yield {**_describe(experiment, plan), **more}
    rows = [
        ("Id", experiment.id),
        ("Name", experiment.name),
        ("State", experiment.state.lower()),
        *plans.describe(experiment, plan or Plan()),
        ("Tagged", counted(tagged, "session") if tagged else ""),
    ]
    if plan is not None and plan.randomisation is not None:
        rows += [("Drawn", plans.draws(drawn))]
        rows += [(str(arm), plans.content(content)) for arm, content in contents.items()]
        rows += [("To take part", plans.how_to_take_part(experiment.id, contents))]
    rows = [row for row in rows if row[1]]
    print_table(["field", "value"], rows, wrapped="value")


@command(app, "evaluate", "exp evaluate 3f2a --json")
def _evaluate(
    experiment_id: IdArgument,
    *,
    store: StoreOption = None,
    source: LakeOptions,
    share: ShareOption = False,
) -> Iterator[object]:
    """Judge an experiment now; a concluded one as it was frozen.

    With --lake, on the sessions of all machines that export there. Arms that are assigned by commits need the
    repository around the current folder; a concluded experiment is computed again, as of its conclusion.
    """
    source.check(store)
    if source.lake is None:
        with open_store(store) as opened:
            evaluation = lifecycle.evaluate(opened, experiment_id, now_ms=read_clock())
    else:
        here = Repository.find(Path.cwd())
        helpers = Helpers(key=source.read_key(), engine=source.choose_engine(), repository=here)
        evaluation = evaluate_lake(source.lake, experiment_id, now_ms=read_clock(), helpers=helpers)
    if share:
        guard = prepare_share([] if source.lake is not None else [locate(store).path])
        evaluation = guard.project(evaluation)
        text = json.dumps(evaluation_document(evaluation)) + render_box(evaluation)
        guard.refuse_leaks({"evaluation": text.encode()})
    yield from _show_evaluation(evaluation)


@command(app, "report", "exp report 3f2a --out reports --format html,md")
def _report(experiment_id: IdArgument, *, options: ReportOptions) -> None:
    """Write the conclusion report of an experiment."""
    with open_store(options.store) as opened:
        found = get_experiment(opened, experiment_id)
        lifecycle.require_started(opened, found)
    raise typer.Exit(make_reports("experiment_conclusion", [f"experiment_id={found.id}"], options))


@command(app, "conclude", "exp conclude 3f2a")
def _conclude(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """Conclude an experiment: freeze its sample and its result."""
    with open_store(store) as opened:
        evaluation = lifecycle.conclude(opened, experiment_id, now_ms=read_clock(), by=_read_name())
        publish_running(opened)
    yield from _show_evaluation(evaluation)


@command(app, "cancel", "exp cancel 3f2a --reason 'wrong commit'")
def _cancel(
    experiment_id: IdArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment.")],
    store: StoreOption = None,
) -> Iterator[object]:
    """Withdraw an experiment while an arm has no session. This is final."""
    with open_store(store) as opened:
        cancelled = lifecycle.cancel(opened, experiment_id, reason, now_ms=read_clock())
        publish_running(opened)
    yield codec.plain(cancelled)
    print_lines(f"Cancelled {cancelled.id}: {cancelled.name}")


@command(app, "archive", "exp archive 3f2a")
def _archive(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """Archive a concluded experiment, or a draft. This is final."""
    with open_store(store) as opened:
        archived = lifecycle.archive(opened, experiment_id, now_ms=read_clock())
    yield codec.plain(archived)
    print_lines(f"Archived {archived.id}: {archived.name}")


@command(
    app,
    "power",
    "exp power --metric cost_per_session --target-pct -10",
    "exp power --metric tokens_per_session --bind git --duration-days 28",
)
def _power(
    *,
    metric: Annotated[str, typer.Option(help="What the experiment is to move.")],
    target_pct: Annotated[
        float, typer.Option("--target-pct", help="Percent change to prove; 0: any improvement.")
    ] = 0.0,
    bind: Annotated[
        str | None,
        typer.Option(metavar="git", help="Plan a comparison before and after a commit. Default: arms drawn by lot."),
    ] = None,
    duration_days: Annotated[int | None, typer.Option(help="--bind git: days after the commit. Default: 28.")] = None,
    days: Annotated[
        int | None,
        typer.Option(help="Days of history to plan from. Default: 28; with --bind git all that the store holds."),
    ] = None,
    alpha: _AlphaOption = None,
    power: Annotated[float, typer.Option(help="Probability of proving a true change.")] = 0.8,
    statistic: _StatisticOption = None,
    guardrail: _GuardrailOption = None,
    design: _DesignOption = None,
    unit: _UnitOption = "session",
    cluster: _ClusterOption = None,
    workspace: _WorkspaceOption = None,
    all_workspaces: _AllWorkspacesOption = False,
    store: StoreOption = None,
) -> Iterator[object]:
    """Say how many sessions and days an experiment needs.

    It simulates whole experiments from the store's history.
    """
    usual = _read_defaults()
    design, statistic = design or usual["design"], statistic or usual["statistic"]
    alpha = usual["alpha"] if alpha is None else alpha
    plan = _build_plan(
        workspace,
        every=all_workspaces,
        bind=bind,
        cluster=cluster,
        unit=unit,
        design=design,
        statistic=statistic,
        alpha=alpha,
    )
    with open_store(store) as opened:
        sessions = add_up_past(read_scope(opened, plan.workspaces), plan.unit)
    after_days = None
    if bind is not None or duration_days is not None:
        after_days = 28 if duration_days is None else duration_days
        if bind != "git" or design != "planned":
            raise ConfigError(
                f"--bind is {bind!r}, --design {design!r}: 'exp power' plans arms drawn by lot (no --bind), or arms "
                "before and after a commit (--bind git), which are judged once; --duration-days belongs to the latter."
            )
    table = compute_power(
        sessions,
        parse_metric(metric),
        now_ms=read_clock(),
        days=days,
        after_days=after_days,
        target_pct=target_pct,
        plan=plan,
        power=power,
        guardrails=[parse_guardrail(text) for text in guardrail or ()],
        progress=None if "--json" in sys.argv else lambda line: typer.echo(line, err=True),
    )
    yield power_document(table)
    print_page(render_text(table))


def _read_scope(workspaces: list[str] | None, *, every: bool) -> tuple[tuple[str, ...], str | None]:
    """Return the planned workspaces (empty: all) and the repository that commits and branches belong to."""
    if every and workspaces:
        raise ConfigError("--workspace and --all-workspaces contradict each other; give one of them.")
    here = Repository.find(Path.cwd())
    if every:
        return (), None if here is None else str(here.root)
    if workspaces:
        first = next((found for root in workspaces if (found := Repository.find(Path(root)))), None)
        return tuple(workspaces), None if first is None else str(first.root)
    if here is None:
        raise ConfigError(
            f"{Path.cwd()} is not inside a git repository, so the sessions that count are not known. "
            "Name them with --workspace PATH, or give --all-workspaces."
        )
    return (str(here.root),), str(here.root)


def _build_plan(
    workspaces: list[str] | None,
    *,
    every: bool,
    bind: str | None = None,
    cluster: str | None = None,
    unit: str = "session",
    design: str = "planned",
    statistic: str = "median",
    **options: Any,  # noqa: ANN401 - the plain fields of a plan
) -> Plan:
    """Return the plan that the options of a command ask for, in the scope that they name."""
    chosen, repository = _read_scope(workspaces, every=every)
    apart = len(chosen) == 1 or unit == WorkUnit.DAY
    default = Cluster.NONE if apart else Cluster.WORKSPACE
    if bind == "git" and unit != WorkUnit.DAY:
        default = Cluster.DAY
    return Plan(
        workspaces=chosen,
        repository=repository,
        cluster=default if cluster is None else parse_member(Cluster, "--cluster", cluster),
        unit=parse_member(WorkUnit, "--unit", unit),
        design=parse_member(DesignKind, "--design", design),
        statistic=parse_member(Statistic, "--statistic", statistic),
        **options,
    )


def _describe(experiment: Experiment, plan: Plan | None) -> dict[str, Any]:
    return {"experiment": codec.plain(experiment), "plan": codec.plain(plan)}


def _read_name() -> str:
    """Return who concludes: git's name for the person, else the account."""
    here = Repository.find(Path.cwd())
    return (None if here is None else here.read_setting("user.name")) or getpass.getuser()


def _show_evaluation(evaluation: Evaluation) -> Iterator[object]:
    yield evaluation_document(evaluation)
    print(render_box(evaluation, terminal_width(), colour=has_colour()))

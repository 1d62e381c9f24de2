"""`exp …`: plan, run, judge and conclude experiments."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from kaizen_analytics.agent_settings import PLUGIN_PARTS, find_settings, has_plugin, read_hook
from kaizen_analytics.cli.experiment_list import IdArgument
from kaizen_analytics.cli.lake import LakeOptions
from kaizen_analytics.cli.options import (
    Options,
    ShareOption,
    StoreOption,
    command,
    locate,
    open_store,
    resolve_folder,
)
from kaizen_analytics.cli.output import has_colour, print_lines, print_page, print_table, terminal_width
from kaizen_analytics.cli.reports import ReportOptions, make_reports
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, one_of
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.metrics import parse_metric
from kaizen_analytics.core.model import Classification, DesignKind, Experiment, GuardrailSpec, WorkUnit
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted, format_moment
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assignment import ArmContent, count_units, load_contents, publish, read_content
from kaizen_analytics.experiments.compare import add_up
from kaizen_analytics.experiments.draft import build_binding, build_criterion, default_guardrails, parse_guardrail
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.lifecycle import expect_reach, new_experiment
from kaizen_analytics.experiments.plan import Cluster, Plan, Randomisation, Statistic, Unit, get_plan
from kaizen_analytics.experiments.power import compute_power
from kaizen_analytics.experiments.sample import read_scope
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.hook import assignments_folder, split_text
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.pages import plans, sentences
from kaizen_analytics.pages.documents import evaluation_document, power_document
from kaizen_analytics.pages.summary import render_box, summarise
from kaizen_analytics.reports.sharing import prepare_share
from kaizen_analytics.retro.proposal import Proposal, open_proposal
from kaizen_analytics.store import Store
from kaizen_analytics.store.assignments import read_draws
from kaizen_analytics.store.experiments import get_experiment, manual_tags

_PlannedOption = Annotated[
    int | None, typer.Option("--planned-n", help="Sessions per arm. Default: from today's rate, at the start.")
]
_GuardrailOption = Annotated[
    list[str] | None,
    typer.Option(metavar="METRIC:DIRECTION:PERCENT", help="A metric that must not move so; may be repeated."),
]


@dataclass(frozen=True, kw_only=True)
class _DraftOptions(Options):
    """What an experiment tries and measures; all of it can be changed before the start."""

    name: Annotated[str | None, typer.Option(help="What the experiment is called.")] = None
    metric: Annotated[str | None, typer.Option(help="What is measured; docs/reference/metrics.md lists all.")] = None
    hypothesis: Annotated[str | None, typer.Option(help="What is expected, and why.")] = None
    change: Annotated[str | None, typer.Option(help="What is changed.")] = None
    target_pct: Annotated[float | None, typer.Option("--target-pct", help="Percent change to prove, such as -10.")] = (
        None
    )
    duration_days: Annotated[int | None, typer.Option(help="Days to collect. Default: 14.")] = None
    guardrail: _GuardrailOption = None
    planned_n: _PlannedOption = None


@dataclass(frozen=True, kw_only=True)
class _ScopeOptions(Options):
    """The workspaces whose sessions count."""

    workspace: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", parser=resolve_folder, help="Sessions that count; may be repeated."),
    ] = None
    all_workspaces: Annotated[bool, typer.Option("--all-workspaces", help="Sessions of every workspace count.")] = False


@dataclass(frozen=True, kw_only=True)
class _RuleOptions(Options):
    """How arms are compared."""

    alpha: Annotated[
        float | None, typer.Option(help="Error level of the whole experiment, all analyses together. Default: 0.05.")
    ] = None
    statistic: Annotated[
        str | None,
        typer.Option(
            metavar="median|mean",
            help="How tokens, cost and minutes are compared: the typical session, or the average one (the bill). "
            "Default: median.",
        ),
    ] = None
    unit: Annotated[
        str,
        typer.Option(
            metavar="session|task|day",
            help="What metrics are added up over before arms are compared. A task is a pull request, else a branch of "
            "its own, else a session.",
        ),
    ] = "session"
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="none|day|branch|workspace|user|organisation",
            help="Whose sessions resemble each other. Default: none within one workspace, else workspace; --bind git: "
            "day.",
        ),
    ] = None
    design: Annotated[
        str | None,
        typer.Option(
            metavar="fixed|planned|open",
            help="One analysis at the end; at any time up to the planned sessions; or at any time without an end. "
            "Default: planned.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class _BindOptions(Options):
    """What assigns sessions to arms where none is drawn."""

    control_commit: Annotated[str | None, typer.Option(help="--bind git: the commit before the change.")] = None
    treatment_commit: Annotated[str | None, typer.Option(help="--bind git: the commit with the change.")] = None
    control_branch: Annotated[str | None, typer.Option(help="--bind branch: without the change.")] = None
    treatment_branch: Annotated[str | None, typer.Option(help="--bind branch: with the change.")] = None
    control_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the old instructions.")] = None
    treatment_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the new instructions.")] = None


_AssignOption = Annotated[
    str | None, typer.Option("--assign", metavar="session|day|branch|user", help="Draw the arms by lot: what is drawn.")
]


@dataclass(frozen=True, kw_only=True)
class _ArmOptions(Options):
    """What the sessions of one arm get."""

    is_prefixed: ClassVar[bool] = True
    text: Annotated[
        Path | None, typer.Option(metavar="FILE", help="--assign: instructions that the hook adds in this arm.")
    ] = None
    file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="--assign: an instruction file of the repository that only this arm reads."),
    ] = None
    args: Annotated[
        str | None, typer.Option(metavar="ARGS", help="--assign: arguments for the agent, such as '--model haiku'.")
    ] = None
    env: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="--assign: a variable for the agent; may be repeated.")
    ] = None
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="--assign: settings of Claude Code, as JSON.")
    ] = None


_DEFAULTS = {"duration_days": None, "guardrails": None, "alpha": 0.05, "statistic": "median", "design": "planned"}
_LATE = "The change is older than a day, so the result is exploratory; 'exp start --at now' begins anew instead."


@command(
    "exp new",
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
    draft: _DraftOptions,
    bind: Annotated[
        str | None, typer.Option(metavar="git|branch|prompt|manual", help="How sessions are assigned to arms.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="increase|decrease", help="Default: the metric's better side.")
    ] = None,
    absolute: Annotated[
        float | None, typer.Option(help="A value for the treatment arm to reach, instead of a change.")
    ] = None,
    arms: _BindOptions,
    variant_field: Annotated[str, typer.Option(help="--bind manual: a payload key that holds A or B.")] = "",
    assign: _AssignOption = None,
    control: _ArmOptions,
    treatment: _ArmOptions,
    margin: Annotated[float | None, typer.Option(help="Changes below this many percent count as none.")] = None,
    no_default_guardrails: Annotated[
        bool,
        typer.Option(
            "--no-default-guardrails", help="Leave out the guardrails on checks and on the work done that are added."
        ),
    ] = False,
    rule: _RuleOptions,
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
    scope: _ScopeOptions,
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
        assign = "session" if bind is None and assign is None else assign
        if not scope.workspace and not scope.all_workspaces:
            scope = _ScopeOptions(workspace=[proposal.repository])
    lot, contents = _plan_lot(assign, control, treatment, None if proposal is None else proposal.content)
    if lot is not None and rule.cluster is not None:
        raise ConfigError("--assign sets the cluster: the unit that is drawn. Leave --cluster out.")
    if experiment_id is not None and (not experiment_id or not experiment_id.isprintable() or " " in experiment_id):
        raise ConfigError(f"The id is {experiment_id!r}; expected one word.")
    usual = _read_defaults()
    given = asdict(draft) | {
        "bind": bind or (None if lot is None else "manual"),
        "absolute": absolute,
        "duration_days": usual["duration_days"] if draft.duration_days is None else draft.duration_days,
        "guardrail": draft.guardrail or usual["guardrails"],
    }
    asked = _fill_in(given, proposal)
    measured = parse_metric(asked["metric"])
    experiment = Experiment(
        id=str(uuid.uuid4()) if experiment_id is None else experiment_id,
        name=asked["name"],
        hypothesis=asked["hypothesis"] or "",
        change_description=asked["change"] or "",
        metric=measured,
        binding=build_binding(asked["bind"], asdict(arms), variant_field),
        duration_days=14 if asked["duration_days"] is None else asked["duration_days"],
        success_criterion=build_criterion(
            measured, target_pct=asked["target_pct"], direction=direction, absolute=absolute
        ),
        created_at_ms=read_clock(),
        guardrails=tuple(parse_guardrail(text) for text in asked["guardrail"] or ()),
    )
    plan = _build_plan(
        scope,
        rule if lot is None else replace(rule, cluster="none"),  # the cluster is what is drawn
        usual,
        bind=asked["bind"],
        margin_pct=margin,
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
    print_lines(*lines, then=f"kaizen-analytics exp start {experiment.id}{_repeat_store(store)}")


@command("exp edit", "exp edit 3f2a --duration-days 21")
def _edit(experiment_id: IdArgument, *, draft: _DraftOptions, store: StoreOption = None) -> Iterator[object]:
    """Change a draft. Guardrails that are given replace all of them. How arms are assigned takes a new draft."""
    given = asdict(draft) | {"change_description": draft.change}
    texts = ("name", "hypothesis", "change_description", "duration_days")
    changes: dict[str, Any] = {field: given[field] for field in texts if given[field] is not None}
    if draft.guardrail:
        changes["guardrails"] = tuple(parse_guardrail(text) for text in draft.guardrail)
    metric, target_pct = draft.metric, draft.target_pct
    if metric is not None and target_pct is None:
        raise ConfigError("Another metric needs another target: give --target-pct too.")
    plan_changes = {} if draft.planned_n is None else {"planned_n": draft.planned_n}
    if not changes and not plan_changes and target_pct is None:
        raise ConfigError("Nothing to change was given; 'kaizen-analytics exp edit --help' lists what can be.")
    with open_store(store) as opened:
        measured = get_experiment(opened, experiment_id).metric if metric is None else parse_metric(metric)
        if target_pct is not None:
            changes |= {"metric": measured, "success_criterion": build_criterion(measured, target_pct=target_pct)}
        edited, plan = lifecycle.edit(opened, experiment_id, changes, plan_changes)
    yield _describe(edited, plan)
    print_lines(f"Changed {edited.id}: {edited.name}")


def _repeat_store(explicit: Path | None) -> str:
    """Return the option that makes the next command find the store of this one, with a blank before it."""
    return "" if explicit is None else f" --store {shlex.quote(str(explicit))}"


def _read_defaults() -> dict[str, Any]:
    """Return the defaults of the options of `new` and `power`: those of kaizen.toml before ours."""
    return {**_DEFAULTS, **read_settings(os.environ, Path.home(), Path.cwd()).experiments}


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


@command("exp start", "exp start 3f2a --at 2026-09-01")
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
    scope: _ScopeOptions,
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
        _check_text_fits(opened, found, draft)
        made_ms = None if at is not None else lifecycle.date_of_change(opened, found, now_ms)
        plan = lifecycle.start(
            opened,
            found,
            now_ms=now_ms,
            at_ms=made_ms if at in (None, "now") else parse_optional_time(at, now_ms),
            planned_n=planned_n,
            default_plan=None if draft is not None else _build_plan(scope, _RuleOptions(), _DEFAULTS),
        )
        experiment = get_experiment(opened, found)
        _publish_running(opened)
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
        then=f"kaizen-analytics exp evaluate {found}{_repeat_store(store)}",
    )


@command("exp show", "exp show 3f2a")
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


@command("exp evaluate", "exp evaluate 3f2a --json")
def _evaluate(
    experiment_id: IdArgument, *, store: StoreOption = None, source: LakeOptions, share: ShareOption = False
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


@command("exp report", "exp report 3f2a --out reports --format html,md")
def _report(experiment_id: IdArgument, *, options: ReportOptions) -> None:
    """Write the conclusion report of an experiment."""
    with open_store(options.store) as opened:
        found = get_experiment(opened, experiment_id)
        lifecycle.find_frozen_plan(opened, found)  # or refuse
    raise typer.Exit(make_reports("experiment_conclusion", [f"experiment_id={found.id}"], options))


@command("exp conclude", "exp conclude 3f2a")
def _conclude(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """Conclude an experiment: freeze its sample and its result."""
    with open_store(store) as opened:
        # who concludes: git's name for the person, else the account
        here = Repository.find(Path.cwd())
        by = (None if here is None else here.read_setting("user.name")) or getpass.getuser()
        evaluation = lifecycle.conclude(opened, experiment_id, now_ms=read_clock(), by=by)
        _publish_running(opened)
    yield from _show_evaluation(evaluation)


@command("exp cancel", "exp cancel 3f2a --reason 'wrong commit'")
def _cancel(
    experiment_id: IdArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment.")],
    store: StoreOption = None,
) -> Iterator[object]:
    """Withdraw an experiment while an arm has no session. This is final."""
    with open_store(store) as opened:
        cancelled = lifecycle.cancel(opened, experiment_id, reason, now_ms=read_clock())
        _publish_running(opened)
    yield codec.plain(cancelled)
    print_lines(f"Cancelled {cancelled.id}: {cancelled.name}")


@command("exp archive", "exp archive 3f2a")
def _archive(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """Archive a concluded experiment, or a draft. This is final."""
    with open_store(store) as opened:
        archived = lifecycle.archive(opened, experiment_id, now_ms=read_clock())
    yield codec.plain(archived)
    print_lines(f"Archived {archived.id}: {archived.name}")


@command(
    "exp power",
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
    power: Annotated[float, typer.Option(help="Probability of proving a true change.")] = 0.8,
    guardrail: _GuardrailOption = None,
    rule: _RuleOptions,
    scope: _ScopeOptions,
    store: StoreOption = None,
) -> Iterator[object]:
    """Say how many sessions and days an experiment needs.

    It simulates whole experiments from the store's history.
    """
    plan = _build_plan(scope, rule, _read_defaults(), bind=bind)
    with open_store(store) as opened:
        sessions = add_up(read_scope(opened, plan.workspaces), plan.unit)
    after_days = None
    if bind is not None or duration_days is not None:
        after_days = 28 if duration_days is None else duration_days
        if bind != "git" or plan.design != "planned":
            raise ConfigError(
                f"--bind is {bind!r}, --design {str(plan.design)!r}: 'exp power' plans arms drawn by lot (no --bind), "
                "or arms before and after a commit (--bind git), which are judged once; --duration-days belongs to the "
                "latter."
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
    print_page(summarise(table))


def _plan_lot(
    assign: str | None, control: _ArmOptions, treatment: _ArmOptions, proposed: ArmContent | None = None
) -> tuple[Randomisation | None, dict[Classification, ArmContent]]:
    """Return how arms are drawn and what their sessions get; `proposed` is the treatment where no option gives one.

    Raises:
        ConfigError: an option is wrong, or belongs to --assign and that is missing.
    """
    arms = {"control": asdict(control), "treatment": asdict(treatment)}
    given = [f"--{arm}-{name}" for arm, options in arms.items() for name, value in options.items() if value]
    if assign is None:
        if given:
            raise ConfigError(f"{given[0]} needs --assign session|day|branch|user: it is for arms drawn by lot.")
        return None, {}
    unit = one_of("--assign", assign, Unit)
    contents = {Classification(arm.capitalize()): read_content(**options) for arm, options in arms.items()}
    if proposed is not None and not any(arms["treatment"].values()):
        contents[Classification.TREATMENT] = proposed
    lot = Randomisation(
        unit=unit,
        control_sha256=contents[Classification.CONTROL].sha256,
        treatment_sha256=contents[Classification.TREATMENT].sha256,
    )
    return lot, contents


def _check_text_fits(opened: Store, experiment_id: str, plan: Plan | None) -> None:
    """Refuse to start an experiment whose text is longer than what the installed hooks of Claude Code ask for.

    Raises:
        ConfigError: it is; nothing is ever cut.
    """
    texts = [content.text for content in load_contents(opened, experiment_id).values() if content.text]
    needed = max((len(split_text(text)) for text in texts), default=0)
    projects = [None, *(Path(root) for root in (plan.workspaces if plan is not None else ()))]
    for project in projects if needed else []:
        file = find_settings(Agent.CLAUDE_CODE, os.environ, Path.home(), project)
        hook = read_hook(file)
        parts = hook.parts if hook else PLUGIN_PARTS if has_plugin(file) else None
        if parts is not None and parts < needed:
            where = "--user" if project is None else "--project"
            raise ConfigError(
                f"The text needs {needed} parts and the hook in {file.path} asks for {parts}; a text is never cut. "
                f"Run 'kaizen-analytics hooks install --agent claude_code {where} --parts {needed}', or shorten it."
            )


def _publish_running(opened: Store) -> None:
    """Tell the hooks of this machine which experiments of the store are running."""
    publish(opened, Path(assignments_folder(os.environ)))


def _read_scope(scope: _ScopeOptions) -> tuple[tuple[str, ...], str | None]:
    """Return the planned workspaces (empty: all) and the repository that commits and branches belong to."""
    if scope.all_workspaces and scope.workspace:
        raise ConfigError("--workspace and --all-workspaces contradict each other; give one of them.")
    here = Repository.find(Path.cwd())
    if scope.all_workspaces:
        return (), None if here is None else str(here.root)
    if scope.workspace:
        first = next((found for root in scope.workspace if (found := Repository.find(Path(root)))), None)
        return tuple(scope.workspace), None if first is None else str(first.root)
    if here is None:
        raise ConfigError(
            f"{Path.cwd()} is not inside a git repository, so the sessions that count are not known. "
            "Name them with --workspace PATH, or give --all-workspaces."
        )
    return (str(here.root),), str(here.root)


def _build_plan(
    scope: _ScopeOptions,
    rule: _RuleOptions,
    usual: dict[str, Any],
    *,
    bind: str | None = None,
    **options: Any,  # noqa: ANN401 - the plain fields of a plan
) -> Plan:
    """Return the plan that the options of a command ask for; `usual` has what they leave out."""
    chosen, repository = _read_scope(scope)
    default = Cluster.NONE if len(chosen) == 1 or rule.unit == WorkUnit.DAY else Cluster.WORKSPACE
    if bind == "git" and rule.unit != WorkUnit.DAY:
        default = Cluster.DAY
    return Plan(
        workspaces=chosen,
        repository=repository,
        cluster=default if rule.cluster is None else one_of("--cluster", rule.cluster, Cluster),
        unit=one_of("--unit", rule.unit, WorkUnit),
        design=one_of("--design", rule.design or usual["design"], DesignKind),
        statistic=one_of("--statistic", rule.statistic or usual["statistic"], Statistic),
        alpha=usual["alpha"] if rule.alpha is None else rule.alpha,
        **options,
    )


def _describe(experiment: Experiment, plan: Plan | None) -> dict[str, Any]:
    return {"experiment": codec.plain(experiment), "plan": codec.plain(plan)}


def _show_evaluation(evaluation: Evaluation) -> Iterator[object]:
    yield evaluation_document(evaluation)
    print(render_box(evaluation, terminal_width(), colour=has_colour()))

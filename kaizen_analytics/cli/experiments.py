"""`exp …`: plan, run, judge and conclude experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaizen_analytics.cli.lake import EngineOption, LakeKeyOption, LakeOption, RemoteOption, choose_engine, read_key
from kaizen_analytics.cli.options import JsonOption, ShareOption, StoreOption, open_store, repeat_store
from kaizen_analytics.cli.output import clean, print_json, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, read_clock

if TYPE_CHECKING:
    from kaizen_analytics.engines import Engine
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.plan import Plan
    from kaizen_analytics.model import Experiment
    from kaizen_analytics.store import Store

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The experiment, or the start of its id when unique.")]
AlphaOption = Annotated[float, typer.Option(help="Error level of the whole experiment, all looks together.")]
DesignOption = Annotated[
    str,
    typer.Option(
        metavar="fixed|planned|open",
        help="One look at the end; looks at any time up to the planned sessions; or looks without end.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="none|workspace|user|organisation",
        help="Whose sessions resemble each other. Default: none within one workspace, else workspace.",
    ),
]
WorkspaceOption = Annotated[
    list[str] | None, typer.Option("--workspace", metavar="PATH", help="Sessions that count; may be repeated.")
]
AllWorkspacesOption = Annotated[bool, typer.Option("--all-workspaces", help="Sessions of every workspace count.")]

_NEW_EXAMPLES = """\b
Examples:
  kaizen-analytics exp new --name "Shorter CLAUDE.md" --metric tokens_per_session --target-pct -10 \\
    --bind git --control-commit v1.4 --treatment-commit v1.5 --guardrail success_rate:decrease:5
  kaizen-analytics exp new --name "Plan first" --metric cost_per_session --target-pct -15 --bind manual
  kaizen-analytics exp new --from-bet H36:pause --bind git --control-commit v1.4 --treatment-commit v1.5
"""
_TAG_EXAMPLES = """\b
Examples:
  kaizen-analytics exp tag 3f2a 01a4… 77b0… --variant treatment
  kaizen-analytics exp tag 3f2a --variant control --where agent=codex --since 2026-10-01 --until 2026-10-08
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="Plan, run, judge and conclude experiments.")
    group.command("new", epilog=_NEW_EXAMPLES)(new)
    group.command("start", epilog="Example: kaizen-analytics exp start 3f2a --at 2026-09-01")(start)
    group.command("list", epilog="Example: kaizen-analytics exp list --json")(list_all)
    group.command("show", epilog="Example: kaizen-analytics exp show 3f2a")(show)
    group.command("tag", epilog=_TAG_EXAMPLES)(tag)
    group.command("untag", epilog="Example: kaizen-analytics exp untag 3f2a 01a4 --reason 'wrong session'")(untag)
    group.command("tags", epilog="Example: kaizen-analytics exp tags 3f2a --json")(tags)
    group.command("evaluate", epilog="Example: kaizen-analytics exp evaluate 3f2a --json")(evaluate)
    group.command("report", epilog="Example: kaizen-analytics exp report 3f2a --out reports --format html,md")(report)
    group.command("conclude", epilog="Example: kaizen-analytics exp conclude 3f2a")(conclude)
    group.command("archive", epilog="Example: kaizen-analytics exp archive 3f2a")(archive)
    group.command("power", epilog="Example: kaizen-analytics exp power --metric cost_per_session --target-pct -10")(
        power
    )
    app.add_typer(group, name="exp")


def new(
    *,
    from_bet: Annotated[
        str | None,
        typer.Option(
            "--from-bet",
            metavar="BET",
            help="Prove a bet of a retro: what is not given is taken from it. An id, or the beginning of only one.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What the experiment is called.")] = None,
    metric: Annotated[str | None, typer.Option(help="What is measured; docs/metrics.md lists all.")] = None,
    bind: Annotated[
        str | None, typer.Option(metavar="git|branch|prompt|manual", help="What tells the arms apart.")
    ] = None,
    hypothesis: Annotated[str | None, typer.Option(help="What is expected, and why.")] = None,
    change: Annotated[str | None, typer.Option(help="What is changed.")] = None,
    target_pct: Annotated[
        float | None, typer.Option("--target-pct", help="Percent change to prove, such as -10.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(metavar="increase|decrease", help="Default: the metric's better side.")
    ] = None,
    absolute: Annotated[
        float | None, typer.Option(help="A value for the treatment arm to reach, instead of a change.")
    ] = None,
    duration_days: Annotated[int | None, typer.Option(help="Days to collect. Default: 14.")] = None,
    control_commit: Annotated[str | None, typer.Option(help="--bind git: the commit before the change.")] = None,
    treatment_commit: Annotated[str | None, typer.Option(help="--bind git: the commit with the change.")] = None,
    control_branch: Annotated[str | None, typer.Option(help="--bind branch: without the change.")] = None,
    treatment_branch: Annotated[str | None, typer.Option(help="--bind branch: with the change.")] = None,
    control_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the old instructions.")] = None,
    treatment_fingerprint: Annotated[str | None, typer.Option(help="--bind prompt: the new instructions.")] = None,
    variant_field: Annotated[str, typer.Option(help="--bind manual: a payload key that holds A or B.")] = "",
    guardrail: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC:DIRECTION:PERCENT", help="A metric that must not move so; may be repeated."),
    ] = None,
    alpha: AlphaOption = 0.05,
    margin: Annotated[float | None, typer.Option(help="Changes below this many percent count as none.")] = None,
    cluster: ClusterOption = None,
    design: DesignOption = "planned",
    planned_n: Annotated[
        int | None, typer.Option("--planned-n", help="Sessions per arm. Default: from today's rate, at the start.")
    ] = None,
    split: Annotated[
        float | None, typer.Option(help="Percent of sessions that a random assignment puts into the control arm.")
    ] = None,
    lookback_days: Annotated[
        int | None, typer.Option(help="--bind git: days before the start that count. Default: the duration.")
    ] = None,
    workspace: WorkspaceOption = None,
    all_workspaces: AllWorkspacesOption = False,
    experiment_id: Annotated[str | None, typer.Option("--id", help="The id. Default: a random one.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan an experiment: one change, one metric, one rule for success, fixed before the data.

    Needed are --name, --metric, --bind and --target-pct or --absolute; with --from-bet only what the bet leaves open.
    """
    import uuid

    from kaizen_analytics.experiments.draft import build_binding, build_criterion, parse_guardrail
    from kaizen_analytics.experiments.lifecycle import new_experiment
    from kaizen_analytics.metrics import parse_metric
    from kaizen_analytics.model import Experiment

    given = {
        "name": name,
        "metric": metric,
        "bind": bind,
        "hypothesis": hypothesis,
        "change": change,
        "target_pct": target_pct,
        "absolute": absolute,
        "duration_days": duration_days,
        "guardrail": guardrail,
        "control_fingerprint": control_fingerprint,
        "treatment_fingerprint": treatment_fingerprint,
    }
    asked = _fill_in(given, from_bet, store)
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
        id=experiment_id or str(uuid.uuid4()),
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
        _read_scope(workspace or [], every=all_workspaces),
        alpha=alpha,
        margin_pct=margin,
        cluster=cluster,
        design=design,
        planned_n=planned_n,
        lookback_days=lookback_days,
        control_share=None if split is None else split / 100,
    )
    with open_store(store) as opened:
        new_experiment(opened, experiment, plan)
    if as_json:
        print_json({**_describe(experiment, plan), "bet": asked.get("bet")})
        return
    print(clean(f"Created {experiment.id}: {experiment.name}"))
    if from_bet is not None:
        print(clean(f"It is to prove the bet {asked['bet']}. {asked['note']}"))
    if not measured.known_to_kaizen:
        print(f"kaizen-cli does not know {measured.column} and will not see this experiment.")
    print(clean(f"Next: kaizen-analytics exp start {experiment.id}{repeat_store(store)}"))


def _fill_in(given: dict[str, Any], from_bet: str | None, store: Path | None) -> dict[str, Any]:
    """Return the options of `new` with what a bet adds to them.

    Raises:
        ConfigError: something needed is neither given nor in the bet.
        ExperimentError: there is no such bet, or an experiment is to prove it already.
    """
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.retro.proposal import complete_options, open_proposal

    asked, hint = given, "--from-bet takes them from a bet of 'kaizen-analytics retro'."
    if from_bet is not None:
        with open_store(store, read_only=True) as opened:
            proposal = open_proposal(opened, from_bet)
        asked, hint = complete_options(proposal, given), proposal.note
    missing = [f"--{name}" for name in ("name", "metric", "bind") if asked[name] is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing. {hint}")
    return asked


def start(
    experiment_id: IdArgument,
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"Open a retrospective experiment that began then. {TIME_HELP}"),
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Give a plan to an experiment of kaizen-cli.")] = False,
    planned_n: Annotated[int | None, typer.Option("--planned-n", help="Sessions per arm to plan for.")] = None,
    workspace: WorkspaceOption = None,
    all_workspaces: AllWorkspacesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a draft: its plan is frozen now, with commits and branches resolved to full ids.

    The scope (--workspace) is that of 'exp new'; it is only asked for where another tool made the experiment.
    """
    from kaizen_analytics.experiments import lifecycle
    from kaizen_analytics.experiments.evaluation import render_time
    from kaizen_analytics.store.experiments import get_experiment

    now_ms = read_clock()
    with open_store(store) as opened:
        experiment = get_experiment(opened, experiment_id)
        has_plan = lifecycle.get_plan(opened, experiment.id) is not None
        default = None if has_plan else _build_plan(_read_scope(workspace or [], every=all_workspaces))
        plan = lifecycle.start(
            opened,
            experiment.id,
            now_ms=now_ms,
            at_ms=parse_optional_time(at, now_ms),
            adopt=adopt,
            planned_n=planned_n,
            default_plan=default,
        )
        experiment = get_experiment(opened, experiment.id)
    if as_json:
        print_json(_describe(experiment, plan))
    elif plan.started is not None:
        window = f"{render_time(plan.started.window_start_ms)} to {render_time(plan.started.window_end_ms)}"
        size = "" if plan.planned_n is None else f", {plan.planned_n} sessions per arm"
        print(clean(f"Started {experiment.id}: sessions from {window}, {plan.design} design{size}"))
        print(clean(f"Next: kaizen-analytics exp evaluate {experiment.id}{repeat_store(store)}"))


def list_all(
    *,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only Draft, Running, Concluded or Archived.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the experiments of a store, newest first, and the rows that cannot be read."""
    from kaizen_analytics.experiments.evaluation import render_time
    from kaizen_analytics.store.experiments import list_experiments, unreadable_experiments

    with open_store(store) as opened:
        found, unreadable = list_experiments(opened), unreadable_experiments(opened)
    chosen = [item for item in found if state is None or item.state.lower() == state.lower()]
    if as_json:
        broken = [{"id": item.id, "reason": item.reason} for item in unreadable]
        print_json({"experiments": [_experiment_json(item) for item in chosen], "unreadable": broken})
        return
    rows = [(item.id, item.name, item.state, item.metric.column, render_time(item.created_at_ms)) for item in chosen]
    print_table(["id", "name", "state", "metric", "created"], rows)
    for item in unreadable:
        print(clean(f"unreadable: {item.id}: {item.reason}"))


def show(experiment_id: IdArgument, *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show an experiment, its plan and how many sessions are tagged."""
    from kaizen_analytics.experiments.lifecycle import get_plan
    from kaizen_analytics.experiments.summary import render_criterion
    from kaizen_analytics.store.experiments import get_experiment, manual_tags

    with open_store(store) as opened:
        experiment = get_experiment(opened, experiment_id)
        plan = get_plan(opened, experiment.id)
        tagged = len(manual_tags(opened, experiment.id))
    if as_json:
        print_json({**_describe(experiment, plan), "tags": tagged})
        return
    rows: list[tuple[str, object]] = [
        ("id", experiment.id),
        ("name", experiment.name),
        ("state", experiment.state),
        ("hypothesis", experiment.hypothesis or None),
        ("change", experiment.change_description or None),
        ("rule", render_criterion(experiment)),
        ("binding", _one_line(_experiment_json(experiment)["binding"])),
        *(
            ("guardrail", f"{g.metric.column}:{g.regression_direction.lower()}:{g.threshold_pct:g}")
            for g in experiment.guardrails
        ),
        ("duration", f"{experiment.duration_days} days"),
        ("tags", str(tagged)),
    ]
    if plan is not None:
        rows += [(name.replace("_", " "), _one_line(value)) for name, value in plan.to_json().items() if name != "rule"]
    print_table(["field", "value"], rows)


def tag(
    experiment_id: IdArgument,
    sessions: Annotated[list[str] | None, typer.Argument(metavar="SESSION…", help="Session ids.")] = None,
    *,
    variant: Annotated[str, typer.Option(metavar="control|treatment|excluded", help="The arm.")],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Choose stored sessions by agent, model, workspace or branch."),
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"First start that counts. {TIME_HELP}")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="First start that no longer counts.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put sessions into an arm by hand, by ids or by a filter; none of them when one is in another arm."""
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.experiments import lifecycle

    now_ms = read_clock()
    filtered = bool(where) or since is not None or until is not None
    if bool(sessions) == filtered:
        raise ConfigError("Name sessions, or choose them with --where, --since and --until; one of the two.")
    with open_store(store) as opened:
        chosen = _choose(opened, where or [], since, until, now_ms) if filtered else list(sessions or [])
        added = lifecycle.tag(opened, experiment_id, chosen, _parse_variant(variant), now_ms=now_ms)
    if as_json:
        print_json({"variant": variant.capitalize(), "sessions": chosen, "added": added})
    else:
        before = f", {len(chosen) - added} were before" if added < len(chosen) else ""
        print(f"Tagged {added} sessions {variant.lower()}{before}.")


def untag(
    experiment_id: IdArgument,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session id.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a session's tag away; the removal and its reason are recorded."""
    from kaizen_analytics.experiments import lifecycle

    with open_store(store) as opened:
        lifecycle.untag(opened, experiment_id, session, reason, now_ms=read_clock())
    if as_json:
        print_json({"session": session, "removed": True})
    else:
        print(clean(f"Removed the tag of {session}."))


def tags(experiment_id: IdArgument, *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the tagged sessions of an experiment."""
    from kaizen_analytics.store.experiments import get_experiment, manual_tags

    with open_store(store) as opened:
        found = manual_tags(opened, get_experiment(opened, experiment_id).id)
    if as_json:
        print_json({session: variant.value for session, variant in found.items()})
    else:
        print_table(["session", "variant"], list(found.items()))


def evaluate(
    experiment_id: IdArgument,
    *,
    store: StoreOption = None,
    lake: LakeOption = None,
    lake_key: LakeKeyOption = None,
    engine: EngineOption = None,
    spark_remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge an experiment now; a concluded one as it was frozen.

    With --lake, on the sessions of all machines that export there. Arms that are told apart by commits need the
    repository around the current folder; a concluded experiment is computed again, as of its conclusion.
    """
    if lake is None:
        evaluation = _evaluate_store(experiment_id, store, lake_key, engine, spark_remote)
    else:
        evaluation = _evaluate_lake(experiment_id, lake, store, lake_key, choose_engine(engine, spark_remote))
    _print_evaluation(evaluation.to_json(), evaluation.render_text(), as_json=as_json)


def report(
    experiment_id: IdArgument,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all reports.")] = Path("reports"),
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Out of html, md, json, pdf, ipynb.")
    ] = "html,md,json",
    force: Annotated[bool, typer.Option("--force", help="Run although nothing changed since the last run.")] = False,
    share: ShareOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the conclusion report of an experiment."""
    from kaizen_analytics.cli import reports
    from kaizen_analytics.store.experiments import get_experiment

    with open_store(store) as opened:
        found = get_experiment(opened, experiment_id)
    reports.run(
        "experiment_conclusion",
        parameter=[f"experiment_id={found.id}"],
        formats=formats,
        out=out,
        store=store,
        force=force,
        share=share,
        as_json=as_json,
    )


def conclude(experiment_id: IdArgument, *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Conclude a running experiment: its sample and its result are frozen and can no longer change."""
    from kaizen_analytics.experiments import lifecycle

    with open_store(store) as opened:
        evaluation = lifecycle.conclude(opened, experiment_id, now_ms=read_clock())
    _print_evaluation(evaluation.to_json(), evaluation.render_text(), as_json=as_json)


def archive(experiment_id: IdArgument, *, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Put a concluded experiment, or a mistyped draft, away; nothing follows."""
    from kaizen_analytics.experiments import lifecycle

    with open_store(store) as opened:
        archived = lifecycle.archive(opened, experiment_id, now_ms=read_clock())
    if as_json:
        print_json(_experiment_json(archived))
    else:
        print(clean(f"Archived {archived.id}: {archived.name}"))


def power(
    *,
    metric: Annotated[str, typer.Option(help="What the experiment is to move.")],
    target_pct: Annotated[
        float, typer.Option("--target-pct", help="Percent change to prove; 0: any improvement.")
    ] = 0.0,
    days: Annotated[int, typer.Option(help="Days of history to plan from.")] = 28,
    alpha: AlphaOption = 0.05,
    power: Annotated[float, typer.Option(help="Probability of proving a true change.")] = 0.8,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Check each size with experiments drawn from the past; takes seconds.")
    ] = False,
    design: DesignOption = "planned",
    cluster: ClusterOption = None,
    workspace: WorkspaceOption = None,
    all_workspaces: AllWorkspacesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many sessions and days an experiment needs, from the store's own history."""
    from kaizen_analytics.experiments.power import compute_power
    from kaizen_analytics.experiments.sample import read_scope
    from kaizen_analytics.metrics import parse_metric

    scope = _read_scope(workspace or [], every=all_workspaces)
    plan = _build_plan(scope, cluster=cluster, design=design)
    with open_store(store) as opened:
        sessions = read_scope(opened, plan.workspaces)
    table = compute_power(
        sessions,
        parse_metric(metric),
        now_ms=read_clock(),
        days=days,
        target_pct=target_pct,
        alpha=alpha,
        power=power,
        design=plan.design,
        cluster=plan.cluster,
        simulate=simulate,
    )
    if as_json:
        print_json(table.to_json())
        return
    print(f"{table.sentence} {table.per_day:.1f} sessions a day come in.")
    goal = f"to prove {target_pct:g} %" if target_pct else "to prove any improvement"
    columns, rows = table.cells()
    print_table(columns, rows, title=f"What it takes {goal}")


def _evaluate_store(experiment_id: str, store: Path | None, *lake_options: object) -> Evaluation:
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.experiments import lifecycle

    if any(option is not None for option in lake_options):
        raise ConfigError("--lake-key, --engine and --spark-remote belong to --lake URL.")
    with open_store(store) as opened:
        return lifecycle.evaluate(opened, experiment_id, now_ms=read_clock())


def _evaluate_lake(
    experiment_id: str, url: str, store: Path | None, lake_key: Path | None, engine: Engine | None
) -> Evaluation:
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.git import Repository
    from kaizen_analytics.lake import Helpers, evaluate_lake

    if store is not None:
        raise ConfigError("Give --store or --lake, not both.")
    helpers = Helpers(key=read_key(lake_key), engine=engine, repository=Repository.find(Path.cwd()))
    return evaluate_lake(url, experiment_id, now_ms=read_clock(), helpers=helpers)


def _read_scope(workspaces: list[str], *, every: bool) -> tuple[tuple[str, ...], str | None]:
    """Return the planned workspaces (empty: all) and the repository that commits and branches belong to."""
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.git import Repository

    if every and workspaces:
        raise ConfigError("--workspace and --all-workspaces contradict each other; give one of them.")
    here = Repository.find(Path.cwd())
    if every:
        return (), None if here is None else str(here.root)
    if workspaces:
        roots = tuple(str(Path(text).expanduser().absolute()) for text in workspaces)
        first = next((found for root in roots if (found := Repository.find(Path(root)))), None)
        return roots, None if first is None else str(first.root)
    if here is None:
        raise ConfigError(
            f"{Path.cwd()} is not inside a git repository, so the sessions that count are not known. "
            "Name them with --workspace PATH, or give --all-workspaces.",
        )
    return (str(here.root),), str(here.root)


def _build_plan(
    scope: tuple[tuple[str, ...], str | None],
    *,
    cluster: str | None = None,
    design: str = "planned",
    **options: Any,  # noqa: ANN401 - the plain fields of a plan
) -> Plan:
    from kaizen_analytics.experiments.plan import Cluster, Plan

    workspaces, repository = scope
    default = Cluster.NONE if len(workspaces) == 1 else Cluster.WORKSPACE
    return Plan(
        workspaces=workspaces,
        repository=repository,
        cluster=default if cluster is None else _parse_member(Cluster, "--cluster", cluster),
        design=_parse_design(design),
        **options,
    )


def _parse_design(text: str) -> Any:  # noqa: ANN401 - a PlanDesign, whose module is imported late
    from kaizen_analytics.experiments.plan import PlanDesign

    return _parse_member(PlanDesign, "--design", text)


def _parse_variant(text: str) -> Any:  # noqa: ANN401 - a Classification, whose module is imported late
    from kaizen_analytics.model import Classification

    return _parse_member(Classification, "--variant", text.capitalize())


def _parse_member(kind: Any, option: str, text: str) -> Any:  # noqa: ANN401 - any enumeration
    from kaizen_analytics.errors import ConfigError

    if text not in list(kind):
        raise ConfigError(f"{option} is {text!r}; expected one of {', '.join(kind)}.")
    return kind(text)


def _choose(store: Store, where: list[str], since: str | None, until: str | None, now_ms: int) -> list[str]:
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.experiments.sample import select_sessions

    pairs = [text.partition("=") for text in where]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise ConfigError(f"--where {wrong[0]} is no condition; expected KEY=VALUE, such as agent=codex.")
    return select_sessions(
        store,
        {key: value for key, _, value in pairs},
        since_ms=parse_optional_time(since, now_ms),
        until_ms=parse_optional_time(until, now_ms),
    )


def _describe(experiment: Experiment, plan: Plan | None) -> dict[str, Any]:
    return {"experiment": _experiment_json(experiment), "plan": None if plan is None else plan.to_json()}


def _experiment_json(experiment: Experiment) -> dict[str, Any]:
    import json

    record: dict[str, Any] = json.loads(experiment.to_json())
    return record


def _one_line(value: object) -> str | None:
    import json

    if value is None or value == []:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_evaluation(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print(clean(text))

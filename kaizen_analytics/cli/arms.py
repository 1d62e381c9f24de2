"""The options of `exp new` that say how arms are drawn and what their sessions get, and what follows from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kaizen_analytics.agent_settings import PLUGIN_PARTS, count_needed, count_parts, find_settings, has_plugin
from kaizen_analytics.cli.options import JsonOption, StoreOption, open_store, parse_member
from kaizen_analytics.cli.output import print_json
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.model import Classification
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.experiments.assignment import draw_unit, load_contents, publish, record_draw
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.randomisation import ArmContent, Randomisation, Unit, read_content
from kaizen_analytics.hook import assignments_folder
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import get_experiment

AssignOption = Annotated[
    str | None,
    typer.Option("--assign", metavar="session|day|branch|user", help="Draw the arms by lot: what is drawn."),
]
TextOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="--assign: instructions that the hook adds in this arm.")
]
FileOption = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="--assign: an instruction file of the repository that only this arm reads."),
]
ArgsOption = Annotated[
    str | None, typer.Option(metavar="ARGS", help="--assign: arguments for the agent, such as '--model haiku'.")
]
EnvOption = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="--assign: a variable for the agent; may be repeated.")
]
SettingsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="--assign: settings of Claude Code, as JSON.")
]
app = typer.Typer()


def plan_lot(
    assign: str | None,
    control: Mapping[str, Any],
    treatment: Mapping[str, Any],
    proposed: ArmContent | None = None,
) -> tuple[Randomisation | None, dict[Classification, ArmContent]]:
    """Return how arms are drawn and what their sessions get; `proposed` is the treatment where no option gives one.

    Raises:
        ConfigError: an option is wrong, or belongs to --assign and that is missing.

    >>> nothing = dict.fromkeys(("text", "file", "args", "env", "settings"))
    >>> lot, contents = plan_lot("day", nothing, nothing | {"args": "--model haiku"})
    >>> lot.unit.value, contents[Classification.TREATMENT].args
    ('day', ('--model', 'haiku'))
    """
    given = [
        f"--{arm}-{name}"
        for arm, options in (("control", control), ("treatment", treatment))
        for name, value in options.items()
        if value
    ]
    if assign is None:
        if given:
            raise ConfigError(f"{given[0]} needs --assign session|day|branch|user: it is for arms drawn by lot.")
        return None, {}
    unit = parse_member(Unit, "--assign", assign)
    contents = {Classification.CONTROL: read_content(**control), Classification.TREATMENT: read_content(**treatment)}
    if proposed is not None and not any(treatment.values()):
        contents[Classification.TREATMENT] = proposed
    lot = Randomisation(
        unit=unit,
        control_sha256=contents[Classification.CONTROL].sha256,
        treatment_sha256=contents[Classification.TREATMENT].sha256,
    )
    return lot, contents


def check_text_fits(opened: Store, experiment_id: str, plan: Plan | None) -> None:
    """Refuse to start an experiment whose text is longer than what the installed hooks of Claude Code ask for.

    Raises:
        ConfigError: it is; nothing is ever cut.

    >>> check_text_fits(store, "plan-first", None)  # its arms hold no text
    """
    texts = [content.text for content in load_contents(opened, experiment_id).values() if content.text]
    needed = max(map(count_needed, texts), default=0)
    projects = [None, *(Path(root) for root in (plan.workspaces if plan is not None else ()))]
    for project in projects if needed else []:
        file = find_settings(Agent.CLAUDE_CODE, os.environ, Path.home(), project)
        parts = count_parts(file)
        if parts == 0 and has_plugin(file):
            parts = PLUGIN_PARTS
        if parts is not None and 0 < parts < needed:
            where = "--user" if project is None else "--project"
            raise ConfigError(
                f"The text needs {needed} parts and the hook in {file.path} asks for {parts}; a text is never cut. "
                f"Run 'kaizen-analytics hooks install --agent claude_code {where} --parts {needed}', or shorten it."
            )


def publish_running(opened: Store) -> None:
    """Tell the hooks of this machine which experiments of the store are running.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {"KAIZEN_HOME": str(tmp)}):
    ...     publish_running(store)
    >>> sorted(path.name for path in tmp.iterdir())
    []
    """
    publish(opened, Path(assignments_folder(os.environ)))


@app.command("assign", epilog="Example: kaizen-analytics exp assign 3f2a --unit-id nightly-17 --json")
def _assign(
    experiment_id: Annotated[str, typer.Argument(metavar="ID", help="The experiment, or the start of its id.")],
    *,
    unit_id: Annotated[str, typer.Option("--unit-id", metavar="UNIT", help="What is drawn, such as a job's id.")],
    record: Annotated[
        str | None, typer.Option("--record", metavar="SESSION", help="Record that this session started in the arm.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which arm a unit is drawn into and what its sessions get, for scripts that start agents themselves.

    The same unit always gets the same arm. Nothing is written without --record.
    """
    with open_store(store) as opened:
        found = get_experiment(opened, experiment_id).id
        arm, content = draw_unit(opened, found, unit_id)
        if record is not None:
            record_draw(opened, found, record, unit_id, arm, read_clock())
    document = {"experiment": found, "unit": unit_id, "arm": arm, "session": record, "content": codec.plain(content)}
    if as_json:
        print_json(document)
    else:
        print(arm)

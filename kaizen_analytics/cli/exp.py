"""`exp …`: the commands of experiments and where they are."""

from __future__ import annotations

from typing import ClassVar

import typer

from kaizen_analytics.cli.lazy import LazyGroup


class _Experiments(LazyGroup):
    index: ClassVar = {
        "new": "Plan an experiment: a change, a metric, a rule for success.",
        "edit": "Change a draft.",
        "start": "Start a draft and freeze its plan.",
        "list": "List the experiments of a store, newest first.",
        "show": "Show an experiment, its plan and how many sessions are tagged.",
        "tag": "Put sessions into an arm by hand, by ids or by a filter.",
        "untag": "Take a session's tag away, with a reason.",
        "tags": "List the tagged sessions of an experiment.",
        "evaluate": "Judge an experiment now; a concluded one as it was frozen.",
        "report": "Write the conclusion report of an experiment.",
        "conclude": "Conclude an experiment: freeze its sample and its result.",
        "cancel": "Withdraw an experiment while an arm has no session.",
        "archive": "Archive a concluded experiment, or a draft.",
        "power": "Say how many sessions and days an experiment needs.",
        "assign": "Say which arm a unit is drawn into, for scripts.",
    }
    modules: ClassVar = dict.fromkeys(index, "experiments") | {
        **dict.fromkeys(("list", "tags"), "experiment_list"),
        **dict.fromkeys(("tag", "untag", "assign"), "arms"),
    }


app = typer.Typer()
app.add_typer(
    typer.Typer(cls=_Experiments, no_args_is_help=True, help="Plan, run, judge and conclude experiments."), name="exp"
)

"""`exp …`: the commands of experiments and where they are."""

from __future__ import annotations

from typing import ClassVar

import typer

from kaizen_analytics.cli.lazy import LazyGroup


class _Experiments(LazyGroup):
    index: ClassVar = {
        "new": "Plan an experiment: one change, one metric, one rule for success, fixed before the data.",
        "edit": "Change a draft.",
        "start": "Start a draft: its plan is frozen now, with commits and branches resolved to full ids.",
        "list": "List the experiments of a store, newest first, and the rows that cannot be read.",
        "show": "Show an experiment, its plan and how many sessions are tagged.",
        "tag": "Put sessions into an arm by hand, by ids or by a filter; none of them when one is in another arm.",
        "untag": "Take a session's tag away; the removal and its reason are recorded.",
        "tags": "List the tagged sessions of an experiment.",
        "evaluate": "Judge an experiment now; a concluded one as it was frozen.",
        "report": "Write the conclusion report of an experiment.",
        "conclude": "Conclude a running experiment: its sample and its result are frozen and can no longer change.",
        "cancel": "Withdraw a running experiment while one of its arms has no session.",
        "archive": "Archive a concluded experiment, or a draft.",
        "power": "Say how many sessions and days an experiment needs, by simulating whole experiments from the "
        "store's history.",
        "assign": "Say which arm a unit is drawn into and what its sessions get, for scripts that start agents "
        "themselves.",
    }
    modules: ClassVar = dict.fromkeys(index, "experiments") | {
        **dict.fromkeys(("list", "tags"), "experiment_list"),
        **dict.fromkeys(("tag", "untag", "assign"), "arms"),
    }


app = typer.Typer()
app.add_typer(
    typer.Typer(cls=_Experiments, no_args_is_help=True, help="Plan, run, judge and conclude experiments."), name="exp"
)

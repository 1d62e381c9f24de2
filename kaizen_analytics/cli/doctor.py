"""`doctor`: check a store."""

from __future__ import annotations

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, open_store
from kaizen_analytics.cli.output import clean, print_json


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: kaizen-analytics doctor --store team.db")(doctor)


def doctor(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Check a store and say what to do about each problem.

    Exit code 1 means that numbers may be wrong; a note means that something is missing and the numbers say so.
    """
    from kaizen_analytics.checks import Severity, run_checks

    with open_store(store) as opened:
        path, results = opened.path, run_checks(opened)
    broken = [result for result in results if not result.passed and result.severity is Severity.ERROR]
    if as_json:
        print_json({"store": str(path), "passed": not broken, "checks": [result.to_json() for result in results]})
    else:
        failed = [result for result in results if not result.passed]
        for result in failed:
            print(
                clean(f"{result.severity.upper()} {result.name}: {result.rows:,} rows contradict '{result.purpose}'.")
            )
            for example in result.examples:
                print(clean("    " + ", ".join(f"{name} {value}" for name, value in example.items())))
            print(clean(f"    To do: {result.remedy}."))
        print(f"{len(results) - len(failed)} of {len(results)} checks passed: {path}")
    if broken:
        raise typer.Exit(1)

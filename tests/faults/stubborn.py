"""A worker whose writes fail at random: it tags sessions, and opens the store again after each error.

    fiu-run … python stubborn.py STORE LOG COUNT [CONTROL POINT]

With a point of failure, that one is switched on once everything is loaded: Python could not read its modules.

It imports the store only. Under fiu-run, which wraps the loader, DuckDB's extension cannot be loaded after SciPy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.core.model import Classification
from kaizen_analytics.store import Store, tag_session


def write_surely(descriptor: int, text: str) -> None:
    """Write a short text also where calls fail at random: the log is no part of the experiment."""
    for _ in range(1_000):
        with suppress(OSError):
            os.write(descriptor, text.encode())
            return
    raise AssertionError("the log cannot be written")


def tag_stubbornly(path: Path, log: Path, count: int) -> int:
    """Tag sessions, opening the store again after each error, and return how many errors there were."""
    names, errors = [f"s{number}" for number in range(count)], 0
    while names and errors < 300:
        try:
            with Store.open(path) as store:
                while names:
                    tag_session(store, "exp-1", names[0], Classification.CONTROL)
                    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                    write_surely(descriptor, f"{names.pop(0)}\n")
                    os.close(descriptor)
        except StoreError:
            errors += 1
    return errors


def switch_on(path: Path, control: str, point: str) -> None:
    """Let calls of this process fail from now on; `fiu-ctrl` writes into the pipes of `fiu-run -f`."""
    with Store.open(path):
        subprocess.run(["fiu-ctrl", "-f", control, "-c", point, str(os.getpid())], check=True)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        switch_on(Path(sys.argv[1]), *sys.argv[4:])
    errors = tag_stubbornly(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    write_surely(sys.stdout.fileno(), f"{errors}\n")

"""Make a store of the sample: its sessions, and its experiments concluded at the time that it names.

python data/sample_store.py STORE
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import demo

from kaizen_analytics.experiments.lifecycle import conclude
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store


def write_store(path: Path, sample: Path = demo.SAMPLE) -> None:
    """Fill a fresh store with a sample and conclude its experiments."""
    manifest = json.loads((sample / "experiments.json").read_text(encoding="utf-8"))
    with Store.open(path, create=True) as store:
        for record in manifest["experiments"]:
            demo.plan_experiment(store, record)
        run_ingest(store, [sample / "home"], environment={})
        for record in manifest["experiments"]:
            conclude(store, record["id"], now_ms=demo.parse_time(manifest["now"]))


def main(path: Path) -> None:
    """Make the store in one step: what is there is whole, also when two processes make it at once."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / "kaizen.db"
        write_store(made)
        shutil.move(made, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The main job from end to end on the sample: ingest, judge its experiments, write their conclusion reports.

    python data/demo.py FOLDER

Time stands where the sample says, so every run gives the same numbers.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from kaizen_analytics import render_text
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ReportError
from kaizen_analytics.core.model import Classification, Experiment
from kaizen_analytics.experiments.lifecycle import conclude, new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.runner import Runner, RunRequest
from kaizen_analytics.store import Store

SAMPLE = Path(__file__).parent / "sample"


def main(folder: Path) -> None:
    """Fill a fresh store in `folder`, conclude the sample's experiments and report on them."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    manifest = json.loads((SAMPLE / "experiments.json").read_text(encoding="utf-8"))
    path = folder / "kaizen.db"
    now_ms = parse_time(manifest["now"])
    with Store.open(path, create=True) as store:
        for record in manifest["experiments"]:
            plan_experiment(store, record)
        summary = run_ingest(store, [SAMPLE / "home"], environment={})
        print(f"Ingested {sum(agent.sessions for agent in summary.agents.values())} sessions into {path}\n")
        for record in manifest["experiments"]:
            evaluation = conclude(store, record["id"], now_ms=now_ms)
            print(f"{render_text(evaluation)}\n")
    for record in manifest["experiments"]:
        page = write_report(path, record["id"], manifest["now"], folder / "reports")
        print(f"{record['name']}: {page}")
    print(f"\nDone in {time.monotonic() - began:.0f} s.")


def plan_experiment(store: Store, record: dict[str, Any]) -> None:
    """Store one of the sample's experiments, tag its sessions and start it, at the time it was created."""
    created_at_ms = parse_time(record["created_at"])
    experiment = _experiment(record, created_at_ms)
    new_experiment(store, experiment, Plan(planned_n=record["planned_n"], workspaces=(record["workspace"],)))
    for arm, session_ids in record.get("tags", {}).items():
        tag(store, experiment.id, session_ids, Classification(arm.capitalize()), now_ms=created_at_ms)
    start(store, experiment.id, now_ms=created_at_ms)


def write_report(store: Path, experiment_id: str, now: str, folder: Path) -> Path:
    """Run the conclusion notebook and return the page."""
    parameters = {"experiment_id": experiment_id, "store": str(store), "now": now}
    request = RunRequest(report=load_report("experiment_conclusion"), parameters=parameters, out=folder)
    result = Runner().run(request)
    if result.exit_code:
        raise ReportError(f"The report failed: {result.record.error} Its record is in {result.folder}.")
    return result.page


def _experiment(record: dict[str, Any], created_at_ms: int) -> Experiment:
    draft = {name: record[name] for name in ("id", "name", "hypothesis", "change_description", "metric", "binding")}
    shared = {
        **draft,
        "duration_days": record["duration_days"],
        "success_criterion": {"Delta": {"direction": "Decrease", "target_pct": record["target_pct"]}},
        "state": "Draft",
        "created_at_ms": created_at_ms,
        "guardrails": [_guardrail(text) for text in record["guardrails"]],
    }
    return codec.load(Experiment, shared)


def _guardrail(text: str) -> dict[str, object]:
    metric, direction, threshold = text.split(":")
    return {"metric": metric, "regression_direction": direction.capitalize(), "threshold_pct": float(threshold)}


def parse_time(text: str) -> int:
    """Return an ISO 8601 time in milliseconds since the Unix epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

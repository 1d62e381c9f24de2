"""The main job on the sample, and that its verdicts follow from its data."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import demo
import pytest
from make_sample import Effects, write_sample

from kaizen_analytics.experiments.decide import GuardrailStatus, Verdict
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.lifecycle import conclude, evaluate
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store, list_experiments

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


def judge(sample: Path, folder: Path) -> dict[str, Evaluation]:
    manifest = json.loads((sample / "experiments.json").read_text(encoding="utf-8"))
    now_ms = demo.parse_time(manifest["now"])
    with Store.open(folder / "kaizen.db", create=True) as store:
        for record in manifest["experiments"]:
            demo.plan_experiment(store, record)
        run_ingest(store, [sample / "home"], environment={})
        return {record["id"]: conclude(store, record["id"], now_ms=now_ms) for record in manifest["experiments"]}


def guardrails(evaluation: Evaluation) -> dict[str, GuardrailStatus]:
    return {guardrail.spec.metric.value: guardrail.status for guardrail in evaluation.guardrails}


@pytest.fixture(scope="module")
def judged(sample_store: Path) -> dict[str, Evaluation]:
    with Store.open(sample_store, read_only=True) as store:
        return {item.id: evaluate(store, item.id, now_ms=0) for item in list_experiments(store)}


def test_the_committed_sample_is_what_the_generator_writes(tmp_path: Path):
    write_sample(tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    committed = sorted(path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file())

    assert committed == sorted([*written, Path("README.md")])
    _, different, errors = filecmp.cmpfiles(SAMPLE, tmp_path, [str(path) for path in written], shallow=False)
    assert (different, errors) == ([], [])
    assert sum((SAMPLE / path).stat().st_size for path in committed) < 3_000_000


def test_three_experiments_end_in_three_ways(judged: dict[str, Evaluation]):
    assert {name: evaluation.verdict for name, evaluation in judged.items()} == {
        "concise-instructions": Verdict.MET,
        "plan-first": Verdict.INCONCLUSIVE,
        "small-model": Verdict.MET,
    }
    assert guardrails(judged["concise-instructions"]) == {"ToolErrorRate": GuardrailStatus.UNRESOLVED}
    assert guardrails(judged["small-model"]) == {
        "DurationMinutes": GuardrailStatus.VIOLATED,
        "ToolErrorRate": GuardrailStatus.VIOLATED,
    }


def test_verdicts_follow_the_data(tmp_path: Path, judged: dict[str, Evaluation]):
    nothing = Effects(concise_tokens=1.0, plan_first_tokens=0.3, small_model_minutes=1.0, small_model_errors=0.08)
    write_sample(tmp_path / "sample", nothing)

    other = judge(tmp_path / "sample", tmp_path)

    assert other["concise-instructions"].verdict is not Verdict.MET
    assert other["plan-first"].verdict is Verdict.MET
    assert GuardrailStatus.VIOLATED not in guardrails(other["small-model"]).values()
    assert judged["concise-instructions"].verdict is Verdict.MET


@pytest.mark.long
def test_the_demo_prints_each_decision_and_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page is made; `test_golden.py` reads all three."""
    made: list[Path] = []

    def write_once(*given: Any, write: Callable[..., Path] = demo.write_report) -> Path:
        made.extend([] if made else [write(*given)])
        return made[0]

    monkeypatch.setattr(demo, "write_report", write_once)
    demo.main(tmp_path / "demo")
    printed = capsys.readouterr().out
    pages = [line.partition(": ")[2] for line in printed.splitlines() if line.endswith(".html")]
    assert len(pages) == printed.count("│ Decision ") == 3
    assert all(Path(page).read_text(encoding="utf-8").lower().startswith("<!doctype html>") for page in pages)

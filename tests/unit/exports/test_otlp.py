"""Session totals in a collector: a server here that decodes what the official exporter sends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from canary_stores import NOW_MS, Listener, find_canaries, listen
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import ConfigError, LakeError, RedactionError
from kaizen_analytics.exports.otlp import find_collector, send_totals
from kaizen_analytics.exports.tables import export_table
from kaizen_analytics.redact import Redactor
from kaizen_analytics.store import Store

USAGE = "gen_ai.client.inference.usage"


class Collector(Listener):
    @property
    def url(self) -> str:
        return f"otlp://127.0.0.1:{self.server_port}"

    def points(self) -> Iterator[tuple[str, Any, dict[str, str]]]:
        """Yield the metric, the point and its attributes of everything that arrived."""
        for body in self.bodies:
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                    assert metric.sum.is_monotonic
                    assert metric.sum.aggregation_temporality == 2  # cumulative
                    for point in metric.sum.data_points:
                        yield metric.name, point, {one.key: one.value.string_value for one in point.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with listen(Collector) as server:
        yield server


def export(path: Path, home: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["export", *arguments, "--store", str(path)], env={"KAIZEN_HOME": str(home)})


def test_a_collector_gets_the_totals_of_the_store(collector: Collector, sample_store: Path, tmp_path: Path):
    answer = json.loads(export(sample_store, tmp_path, "metrics", "--to", collector.url, "--json").stdout)
    table = tmp_path / "sessions.parquet"
    export(sample_store, tmp_path, "sessions", "--to", str(table))
    sessions = pl.read_parquet(table)
    found, totals = list(collector.points()), Counter[str]()
    for name, point, _ in found:
        totals[name] += point.as_int or point.as_double
    assert (set(collector.paths), answer["points"], answer["sessions"]) == (
        {"/v1/metrics"},
        len(found),
        sessions.height,
    )
    sums = {name: sessions[name].sum() for name in sessions.columns if sessions[name].dtype.is_numeric()}
    assert totals == {
        f"{USAGE}.input_tokens": sums["tokens_in"] + sums["cache_creation_tokens"] + sums["cache_read_tokens"],
        f"{USAGE}.cache_read.input_tokens": sums["cache_read_tokens"],
        f"{USAGE}.cache_write.input_tokens": sums["cache_creation_tokens"],
        f"{USAGE}.output_tokens": sums["tokens_out"] + sums["reasoning_tokens"],
        f"{USAGE}.reasoning.output_tokens": sums["reasoning_tokens"],
        "kaizen.session.cost": pytest.approx(sums["cost_usd"]),
        **{f"kaizen.session.{name}": sums[name] for name in ("prompts", "tool_calls", "failures")},
    }
    one = next(attributes for name, _, attributes in found if name == f"{USAGE}.output_tokens")
    row = sessions.row(by_predicate=pl.col("session") == one["gen_ai.conversation.id"], named=True)
    assert one["gen_ai.agent.name"] == row["agent"]
    assert one["gen_ai.provider.name"] == {"claude_code": "anthropic", "codex": "openai"}[row["agent"]]
    assert one["gen_ai.response.model"] == row["model"]
    assert (one["gen_ai.operation.name"], one["gen_ai.token.modality"]) == ("chat", "unknown")


def test_no_word_of_the_store_reaches_a_collector(canary_store: Store, redactor: Redactor, collector: Collector):
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    sent = send_totals(made, str(find_collector(collector.url)), redactor.scanner, now_ms=NOW_MS)
    assert sent == len(list(collector.points())) > 1
    assert [find_canaries(body) for body in collector.bodies] == [[]] * len(collector.bodies)


def test_what_is_sent_is_looked_at_once_more(canary_store: Store, redactor: Redactor, collector: Collector):
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    leaky = replace(made, frame=made.frame.with_columns(model=pl.lit("jane.doe@corp.io")))
    with pytest.raises(RedactionError, match="metrics held"):
        send_totals(leaky, str(find_collector(collector.url)), redactor.scanner, now_ms=NOW_MS)
    assert collector.bodies == []


@pytest.mark.parametrize(("status", "reason"), [(400, ".*code: 400"), (503, "metrics batch due to timeout")])
def test_a_collector_that_refuses_is_an_error(
    canary_store: Store, redactor: Redactor, collector: Collector, status: int, reason: str, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    collector.status = status
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    with pytest.raises(LakeError, match=rf"v1/metrics did not take the metrics\. Failed to export {reason}"):
        send_totals(made, str(find_collector(collector.url)), redactor.scanner, now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("to", "collector"),
    [
        ("otlp://localhost", "http://localhost:4318/v1/metrics"),
        ("otlps://otel.example.org", "https://otel.example.org:4318/v1/metrics"),
        ("http://localhost:4318/", "http://localhost:4318/v1/metrics"),
        ("https://otel.example.org/v1/metrics", "https://otel.example.org/v1/metrics"),
        ("otlp://[::1]:9", "http://[::1]:9/v1/metrics"),
        ("s3://team/lake", None),
        ("metrics.parquet", None),
        ("-", None),
    ],
)
def test_the_address_of_a_collector(to: str, collector: str | None):
    assert find_collector(to) == collector


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("otlp://", "names no host"),
        ("https://me:secret@host", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("otlp://host:99999", "wrong port"),
        ("otlp://host:no", "wrong port"),
    ],
)
def test_a_wrong_address_is_refused(to: str, message: str):
    with pytest.raises(ConfigError, match=message):
        find_collector(to)


def test_without_the_extra_the_error_names_it(canary_store: Store, redactor: Redactor, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics.export", None)
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    with pytest.raises(ConfigError, match=r"pip install 'kaizen_analytics\[otel\]'"):
        send_totals(made, "http://127.0.0.1:9/v1/metrics", redactor.scanner, now_ms=NOW_MS)


@pytest.mark.slow
def test_an_export_to_a_file_loads_no_opentelemetry(sample_store: Path, tmp_path: Path):
    code = (
        "import sys; from typer.testing import CliRunner; from kaizen_analytics.cli import app;"
        f"done = CliRunner().invoke(app, {['export', 'metrics', '--to', 'm.csv', '--store', str(sample_store)]});"
        "assert done.exit_code == 0, done.output; print('opentelemetry' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.strip() == "False"

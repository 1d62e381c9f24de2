"""Session totals as OpenTelemetry metrics, sent to a collector over OTLP/HTTP (the extra `otel`).

Names and attributes follow the GenAI semantic conventions (status: development). They have none for cost yet, so cost
and counts are under `kaizen.session`. Each session is a series of cumulative sums, so sending it again adds nothing.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kaizen_analytics import __version__
from kaizen_analytics.core.errors import ConfigError, LakeError
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.redact import Scanner, refuse_leaks

if TYPE_CHECKING:
    from kaizen_analytics.exports.tables import Export

_USAGE = "gen_ai.client.inference.usage"
_TOTALS = (
    (f"{_USAGE}.input_tokens", "{token}", ("tokens_in", "cache_creation_tokens", "cache_read_tokens")),
    (f"{_USAGE}.cache_read.input_tokens", "{token}", ("cache_read_tokens",)),
    (f"{_USAGE}.cache_write.input_tokens", "{token}", ("cache_creation_tokens",)),
    (f"{_USAGE}.output_tokens", "{token}", ("tokens_out", "reasoning_tokens")),
    (f"{_USAGE}.reasoning.output_tokens", "{token}", ("reasoning_tokens",)),
    ("kaizen.session.cost", "USD", ("cost_usd",)),
    ("kaizen.session.prompts", "{prompt}", ("prompts",)),
    ("kaizen.session.tool_calls", "{call}", ("tool_calls",)),
    ("kaizen.session.failures", "{failure}", ("failures",)),
)
"""Each metric: its unit, and the columns of the table `sessions` that it adds up."""

_ATTRIBUTES = {
    "gen_ai.conversation.id": "session",
    "gen_ai.agent.name": "agent",
    "gen_ai.response.model": "model",
    "kaizen.workspace": "workspace",
    "kaizen.branch": "branch",
    "kaizen.parent_session": "parent_session",
}
_PROVIDERS = {Agent.CLAUDE_CODE: "anthropic", Agent.CODEX: "openai"}
_SCHEMES = {"otlp": "http", "otlps": "https", "http": "http", "https": "https"}
_PORT, _PATH = 4318, "/v1/metrics"
_BATCH = 5_000
"""Points in one request."""


def find_collector(to: str) -> str | None:
    """Return where metrics are posted for an address such as `otlp://host` or `https://host:4318`; None for others.

    Raises:
        ConfigError: the address is of a collector, and has no host, or credentials.

    >>> find_collector("otlp://localhost"), find_collector("https://otel.example.org/otlp"), find_collector("a.csv")
    ('http://localhost:4318/v1/metrics', 'https://otel.example.org/otlp/v1/metrics', None)
    """
    parts = urlsplit(to)
    if "://" not in to or parts.scheme not in _SCHEMES:
        return None
    if parts.username or parts.password:
        raise ConfigError("--to holds credentials; put them into OTEL_EXPORTER_OTLP_HEADERS, as for other exporters.")
    try:
        port = parts.port
    except ValueError:
        raise ConfigError(f"--to {to} has a wrong port; expected a number up to 65535.") from None
    if not parts.hostname:
        raise ConfigError(f"--to {to} names no host; expected an address such as otlp://localhost:4318.")
    if port is None and parts.scheme.startswith("otlp"):
        port = _PORT
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix(_PATH) + _PATH
    return f"{_SCHEMES[parts.scheme]}://{host}{'' if port is None else f':{port}'}{path}"


def send_totals(sessions: Export, url: str, scanner: Scanner, *, now_ms: int) -> int:
    """Send the totals of the projected table `sessions` to a collector, and return how many points were sent.

    Headers, certificates and the time-out come from the environment variables of OpenTelemetry. `url` is what
    `find_collector` gives, and `scanner` looks at what would be sent.

    Raises:
        ConfigError: the extra is not installed.
        RedactionError: something in it must not leave this machine; nothing was sent.
        LakeError: the collector did not take them.

    >>> send_totals  # doctest: +ELLIPSIS
    <function send_totals at ...>
    """
    try:
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.exporter.otlp.proto.http import metric_exporter
        from opentelemetry.sdk.metrics.export import MetricExportResult
    except ImportError:
        raise ConfigError("--to a collector needs another package: pip install 'kaizen_analytics[otel]'.") from None
    data, points = _build_metrics(sessions, now_ms)
    refuse_leaks({"metrics": encode_metrics(data).SerializeToString()}, scanner)
    problems = _Problems()
    logger = logging.getLogger(metric_exporter.__name__)
    logger.addHandler(problems)
    logger.propagate = False
    exporter = metric_exporter.OTLPMetricExporter(endpoint=url, max_export_batch_size=_BATCH)
    try:
        if exporter.export(data) is not MetricExportResult.SUCCESS:
            raise LakeError(f"The collector at {url} did not take the metrics. {problems.last}")
    finally:
        exporter.shutdown()
        logger.propagate = True
        logger.removeHandler(problems)
    return points


class _Problems(logging.Handler):
    """Keeps the exporter's last message, which says why nothing arrived, off the terminal."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _build_metrics(sessions: Export, now_ms: int) -> tuple[Any, int]:
    """Return the totals as the SDK's `MetricsData`, and how many points it has."""
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    rows = sessions.frame.to_dicts()
    hours = {row["started"]: datetime.strptime(f"{row['started']}Z", "%Y-%m-%dT%H%z") for row in rows}
    starts = {text: round(hour.timestamp()) * 1_000_000_000 for text, hour in hours.items()}
    metrics = []
    for name, unit, columns in _TOTALS:
        tokens = {"gen_ai.token.modality": "unknown"} if name.startswith(_USAGE) else {}
        known = ((row, [row[name] for name in columns if row[name] is not None]) for row in rows)
        points = [
            export.NumberDataPoint(
                attributes={**_describe(row), **tokens},
                start_time_unix_nano=starts[row["started"]],
                time_unix_nano=now_ms * 1_000_000,
                value=sum(values),
            )
            for row, values in known
            if values
        ]
        total = export.Sum(
            data_points=points, aggregation_temporality=export.AggregationTemporality.CUMULATIVE, is_monotonic=True
        )
        if points:
            metrics.append(export.Metric(name=name, description="", unit=unit, data=total))
    scope = export.ScopeMetrics(
        scope=InstrumentationScope("kaizen_analytics", __version__), metrics=metrics, schema_url=""
    )
    resource = Resource({"service.name": "kaizen-analytics"})
    data = export.MetricsData([export.ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])
    return data, sum(len(metric.data.data_points) for metric in metrics)


def _describe(row: dict[str, Any]) -> dict[str, str]:
    named = {name: row[column] for name, column in _ATTRIBUTES.items() if row[column] is not None}
    provider = _PROVIDERS.get(row["agent"], row["agent"])
    return {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, **named}

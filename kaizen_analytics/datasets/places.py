"""Where an export goes: a file, a folder, an object store, or standard output. All of them see only scanned bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.exports import Format, parse_format, publish
from kaizen_analytics.lake.places import SCHEMES
from kaizen_analytics.redact import refuse_leaks

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

    from kaizen_analytics.datasets.export import Export
    from kaizen_analytics.redact import Scanner

_SCHEME = re.compile(r"[a-z][a-z0-9+]{1,9}://", re.IGNORECASE)


def deliver(made: Export, to: str, form: Format | None, scanner: Scanner) -> tuple[str | None, bytes]:
    """Write an export to the place that `to` names and return that place and the bytes; None for standard output.

    A folder (an existing one, or a name that ends in `/`) gets a file named after the dataset.

    Raises:
        ConfigError: the format is missing or does not fit, or the place cannot be written.
        RedactionError: the finished file held something that must not leave; nothing was written.
    """
    if to.lower().startswith("file://"):
        to = unquote(urlsplit(to).path)
    if _SCHEME.match(to):
        return _upload(made, to, form, scanner)
    path = Path(to).expanduser()
    is_folder = to == "-" or to.endswith("/") or path.is_dir()
    chosen = form or (_require_form(to) if is_folder else parse_format(path))
    data = _encode(made, chosen, scanner)
    if to == "-":
        return None, data
    if is_folder:
        path /= f"{made.dataset.name}.{chosen.value}"
    publish(data, path)
    return str(path), data


def _require_form(place: str) -> Format:
    raise ConfigError(f"--to {place} does not tell the format; add --format md, json, csv or parquet.")


def _encode(made: Export, form: Format, scanner: Scanner) -> bytes:
    data = made.encode(form)
    refuse_leaks({f"{made.dataset.name}.{form.value}": data}, scanner)
    return data


def _upload(made: Export, url: str, form: Format | None, scanner: Scanner) -> tuple[str, bytes]:
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise ConfigError(f"--to names a {parts.scheme} URL; expected one of {', '.join(SCHEMES)}, or a file.")
    if parts.username or parts.password:
        raise ConfigError("--to holds credentials; leave them to the environment variables of the object store.")
    is_folder = parts.path.endswith("/")
    chosen = form or (_require_form(url) if is_folder else parse_format(Path(parts.path)))
    sink = _SINKS.get(chosen)
    if sink is None:
        raise ConfigError(f"An object store takes .csv and .parquet, not .{chosen.value}; write a file and copy it.")
    data = _encode(made, chosen, scanner)
    if is_folder:
        url += f"{made.dataset.name}.{chosen.value}"
    _send(sink, made.frame, url)
    return url, data


def _send(sink: Callable[[pl.DataFrame, str], object], frame: pl.DataFrame, url: str) -> None:
    import polars.exceptions

    try:
        sink(frame, url)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise ConfigError(f"Cannot write to {url}: {str(error).splitlines()[0]}") from error


def _write_csv(frame: pl.DataFrame, url: str) -> None:
    from kaizen_analytics.exports import guard_formulas

    guard_formulas(frame).lazy().sink_csv(url)


_SINKS: dict[Format, Callable[[pl.DataFrame, str], object]] = {
    Format.PARQUET: lambda frame, url: frame.lazy().sink_parquet(url),
    Format.CSV: _write_csv,
}

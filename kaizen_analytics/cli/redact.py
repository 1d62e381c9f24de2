"""`redact`: text in, text out, without secrets and identities."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kaizen_analytics.redact import Finding, Redactor, Tally

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The 32-byte key of pseudonyms. Default: $KAIZEN_HOME/pseudonyms.key."),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: kaizen-analytics redact --lines < session.jsonl > shared.jsonl")(redact)


def redact(
    *,
    lines: Annotated[
        bool, typer.Option("--lines", help="Treat each line on its own; as many lines come out as went in.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print {text, counts} as JSON: one document, or with --lines one for each line."),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell on standard error what was redacted where; never the value.")
    ] = False,
    key: KeyOption = None,
) -> None:
    """Replace secrets and identities on standard input by placeholders, on standard output."""
    redactor = open_redactor(key)
    tally = (_redact_lines if lines else _redact_text)(redactor, as_json=as_json, explain=explain)
    sys.stdout.buffer.flush()
    if explain:
        _explain_tally(tally)


def open_redactor(key: Path | None) -> Redactor:
    """Return a redactor that knows this machine's names, under the key in a file or under $KAIZEN_HOME."""
    from kaizen_analytics.redact import collect_identities, open_redactor

    return open_redactor(collect_identities([Path.cwd()]), _read_key(key))


def _read_key(explicit: Path | None) -> bytes:
    """Return the key of pseudonyms; without a writable home, one for this run only."""
    from kaizen_analytics.redact import find_key, load_key

    file = explicit or find_key()
    if explicit is None and not file.exists() and not _is_writable(file.parent):
        print(f"note: {file.parent} is not writable; pseudonyms of this run match no other run", file=sys.stderr)
        return os.urandom(32)
    return load_key(file)


def _is_writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _redact_lines(redactor: Redactor, *, as_json: bool, explain: bool) -> Tally:
    from kaizen_analytics.redact import Tally, redact_lines

    tally, out = Tally(), sys.stdout.buffer
    for line in redact_lines(sys.stdin.buffer, redactor, explain=as_json or explain):
        out.write(_json(line.text, line.findings) + b"\n" if as_json else line.text + line.end)
        tally.add(line.findings)
        if explain:
            _explain(f"line {tally.lines}", line.findings)
    return tally


def _redact_text(redactor: Redactor, *, as_json: bool, explain: bool) -> Tally:
    from kaizen_analytics.redact import Tally

    raw = sys.stdin.buffer.read()
    findings = redactor.find_in_units([raw])[0] if as_json or explain else []
    text = redactor.redact_bytes(raw)
    sys.stdout.buffer.write(_json(text, findings) + b"\n" if as_json else text)
    tally = Tally()
    tally.add(findings)
    if explain:
        _explain("text", findings)
    return tally


def _json(text: bytes, findings: Iterable[Finding]) -> bytes:
    from collections import Counter

    counts = Counter(finding.kind for finding in findings)
    return json.dumps({"text": text.decode("utf-8", "replace"), "counts": counts}, ensure_ascii=False).encode()


def _explain(place: str, findings: Iterable[Finding]) -> None:
    for finding in findings:
        print(f"{place}, bytes {finding.start}-{finding.end}: {finding.kind}", file=sys.stderr)


def _explain_tally(tally: Tally) -> None:
    kinds = ", ".join(f"{count} {kind}" for kind, count in tally.kinds.most_common()) or "nothing"
    print(f"redacted {kinds}", file=sys.stderr)

"""`redact`: text in, text out, without secrets and identities."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from kaizen_analytics import redact
from kaizen_analytics.cli.options import command
from kaizen_analytics.redact import Detection, Redactor, Tally, find_key, load_key, redact_lines

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The 32-byte key of pseudonyms. Default: $KAIZEN_HOME/pseudonyms.key."),
]


@command("redact", "redact --lines < session.jsonl > shared.jsonl")
def _redact_stream(
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
    """Replace secrets and identities in a text by placeholders.

    It reads standard input and writes standard output. Any bytes go in, UTF-8 comes out: UTF-16 and UTF-32 with a byte
    order mark are converted, other bytes that are no UTF-8 become U+FFFD.
    """
    redactor = open_redactor(key)
    tally = (_redact_lines if lines else _redact_text)(redactor, as_json=as_json, explain=explain)
    sys.stdout.buffer.flush()
    if explain:
        kinds = ", ".join(f"{count} {kind}" for kind, count in tally.kinds.most_common()) or "nothing"
        print(f"redacted {kinds}", file=sys.stderr)


def open_redactor(key: Path | None) -> Redactor:
    """Return a redactor that knows this machine's names, under the key in a file or under $KAIZEN_HOME.

    >>> open_redactor(tmp / "pseudonyms.key").redact("AKIAIOSFODNN7ABCDEF2")
    '<R:t1>'
    """
    return redact.open_redactor(redact.collect_identities([Path.cwd()]), _read_key(key))


def _read_key(explicit: Path | None) -> bytes:
    """Return the key of pseudonyms; without a writable home, one for this run only."""
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
    tally = Tally()
    for line in redact_lines(_open_input(), redactor, explain=as_json or explain):
        tally.add(line.findings)
        _answer(line.text, line.findings, f"line {tally.lines}", as_json=as_json, explain=explain, end=line.end)
    return tally


def _redact_text(redactor: Redactor, *, as_json: bool, explain: bool) -> Tally:
    raw, tally = _open_input().read(), Tally()
    findings = redactor.find_in_units([raw])[0] if as_json or explain else []
    tally.add(findings)
    _answer(redactor.redact_bytes(raw), findings, "text", as_json=as_json, explain=explain)
    return tally


def _answer(
    text: bytes, findings: Sequence[Detection], place: str, *, as_json: bool, explain: bool, end: bytes = b""
) -> None:
    clean = text.decode("utf-8", "replace")
    if as_json:
        counts = Counter(finding.kind for finding in findings)
        sys.stdout.buffer.write(json.dumps({"text": clean, "counts": counts}, ensure_ascii=False).encode() + b"\n")
    else:
        sys.stdout.buffer.write(clean.encode() + end)
    for finding in findings if explain else ():
        print(f"{place}, bytes {finding.start}-{finding.end}: {finding.kind}", file=sys.stderr)


def _open_input() -> BinaryIO:
    """Return standard input; as UTF-8 where it begins with the mark of UTF-16 or UTF-32."""
    head = cast("BufferedReader", sys.stdin.buffer).peek(4)
    for encoding, marks in _MARKS.items():
        if head.startswith(marks):
            return cast("BinaryIO", codecs.EncodedFile(sys.stdin.buffer, "utf-8", encoding, "replace"))
    return sys.stdin.buffer


_MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),  # before UTF-16, whose mark begins the other
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}

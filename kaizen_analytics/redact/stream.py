"""Redact a stream line by line: as many lines out as came in, in memory that does not grow with the stream."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from kaizen_analytics.redact.redactor import Redactor
    from kaizen_analytics.redact.spans import Finding

READ_BYTES = 1 << 18


class Line(NamedTuple):
    r"""A line without its end, what of it was redacted, and its end (`\n`, `\r\n`, `\r` or nothing)."""

    text: bytes
    findings: list[Finding]
    end: bytes


@dataclass(slots=True)
class Tally:
    """How much went through and what was redacted, by kind."""

    lines: int = 0
    changed_lines: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, findings: Iterable[Finding]) -> None:
        """Count one line or text and its findings."""
        before = self.kinds.total()
        self.kinds.update(finding.kind for finding in findings)
        self.lines += 1
        self.changed_lines += self.kinds.total() > before


def split_lines(source: BinaryIO) -> Iterator[list[bytes]]:
    """Yield blocks of whole lines with their ends; only a line longer than a block takes more memory."""
    pieces: list[bytes] = []
    while block := source.read(READ_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((*pieces, block[:cut])).splitlines(keepends=True)
            pieces = []
        pieces.append(block[cut:])
    rest = b"".join(pieces)
    if rest:
        yield rest.splitlines(keepends=True)


def redact_lines(source: BinaryIO, redactor: Redactor, *, explain: bool = False) -> Iterator[Line]:
    """Yield every line of `source` redacted on its own.

    Any bytes are taken: NUL and invalid UTF-8 pass through. With `explain`, findings carry offsets into the line as
    it came; without, they are empty and one scan is saved.
    """
    for lines in split_lines(source):
        texts = [line.rstrip(b"\r\n") for line in lines]
        ends = [line[len(text) :] for line, text in zip(lines, texts, strict=True)]
        found = redactor.find_in_units(texts) if explain else [[] for _ in texts]
        yield from map(Line, redactor.redact_units(texts), found, ends)

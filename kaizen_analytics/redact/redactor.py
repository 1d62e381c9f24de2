"""Replace what the scanner finds, until nothing is left to find.

`redact` repeats scan and replacement until a text no longer changes, so `redact(redact(x)) == redact(x)` holds for
every input by construction. It ends: each round replaces bytes outside placeholders, and placeholders are never
touched again.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import ahocorasick_rs

from kaizen_analytics.redact.canonical import resolve_value
from kaizen_analytics.redact.placeholders import Category, render_placeholder
from kaizen_analytics.redact.spans import Finding, merge_findings
from kaizen_analytics.redact.values import is_strong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kaizen_analytics.redact.pseudonyms import Pseudonyms
    from kaizen_analytics.redact.scanner import Scanner


BATCH = 1 << 18
"""Bytes of small units that are scanned together; less than the scanner's window, so that none is ever cut."""
_SEPARATOR = b"\n"


@dataclass(frozen=True, slots=True)
class Redactor:
    """A scanner and the key of its pseudonyms."""

    scanner: Scanner
    pseudonyms: Pseudonyms

    def redact(self, text: str) -> str:
        """Return `text` with every secret and identity replaced; lone surrogates survive."""
        raw = text.encode("utf-8", "surrogatepass")
        return self.redact_bytes(raw).decode("utf-8", "surrogatepass")

    def redact_bytes(self, raw: bytes) -> bytes:
        """Return `raw` with every secret and identity replaced, also where a strong secret stands bare."""
        while True:
            findings = merge_findings(raw, self.scanner.find(raw))
            if not findings:
                return raw
            strong = _strong_values(raw, findings)
            raw = _spread(self.replace(raw, findings), strong)

    def redact_units(self, units: Sequence[bytes]) -> list[bytes]:
        """Return each unit redacted on its own; many are scanned in one buffer, which is faster."""
        done = list(units)
        open_units = list(range(len(done)))
        while open_units:
            before = [done[index] for index in open_units]
            found = self.find_in_units(before)
            open_units = [index for index, findings in zip(open_units, found, strict=True) if findings]
            for index, findings in zip(open_units, filter(None, found), strict=True):
                done[index] = self.replace(done[index], findings)
        return done

    def find_in_units(self, units: Sequence[bytes]) -> list[list[Finding]]:
        """Return the findings of each unit, in its own offsets; a unit never sees its neighbours."""
        return [findings for batch in _batches(units) for findings in self._find_in_batch(batch)]

    def _find_in_batch(self, units: Sequence[bytes]) -> list[list[Finding]]:
        raw = _SEPARATOR.join(units)
        starts = [0, *accumulate(len(unit) + len(_SEPARATOR) for unit in units)]
        ends = [*starts[1:-1], len(raw)]
        found: list[list[Finding]] = [[] for _ in units]
        for finding in merge_findings(raw, self.scanner.find(raw, ends)):
            unit = bisect_right(starts, finding.start) - 1
            first, last = finding.start - starts[unit], min(finding.end - starts[unit], len(units[unit]))
            if first < last:
                found[unit].append(finding._replace(start=first, end=last))
        return found

    def replace(self, raw: bytes, findings: Iterable[Finding]) -> bytes:
        """Put placeholders in the place of disjoint, ordered `findings`."""
        parts: list[bytes] = []
        position = 0
        for finding in findings:
            parts += [raw[position : finding.start], self._placeholder(raw, finding)]
            position = finding.end
        parts.append(raw[position:])
        return b"".join(parts)

    def _placeholder(self, raw: bytes, finding: Finding) -> bytes:
        if finding.is_secret:
            return render_placeholder(finding.category, None)
        value = resolve_value(raw[finding.start : finding.end])
        return render_placeholder(finding.category, self.pseudonyms.name(finding.category, value))


def _batches(units: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Group units into buffers that the scanner takes whole; a unit that is longer stands alone."""
    batch: list[bytes] = []
    size = 0
    for unit in units:
        if batch and size + len(unit) > BATCH:
            yield batch
            batch, size = [], 0
        batch.append(unit)
        size += len(unit) + len(_SEPARATOR)
    if batch:
        yield batch


def _strong_values(raw: bytes, findings: Iterable[Finding]) -> set[bytes]:
    return {
        value
        for finding in findings
        if finding.is_secret and finding.category is not Category.PEM and finding.end - finding.start <= 4096
        if is_strong(value := raw[finding.start : finding.end])
    }


def _spread(raw: bytes, values: set[bytes]) -> bytes:
    """Replace strong values wherever else they stand, in one pass."""
    present = [value for value in values if value in raw]
    if not present:
        return raw
    automaton = ahocorasick_rs.BytesAhoCorasick(present, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
    parts: list[bytes] = []
    position = 0
    for _, start, end in automaton.find_matches_as_indexes(raw):
        parts += [raw[position:start], render_placeholder(Category.GENERIC, None)]
        position = end
    parts.append(raw[position:])
    return b"".join(parts)


def redact_many(redactor: Redactor, texts: Sequence[str]) -> list[str]:
    """Redact many texts that belong together: each distinct one once, strong secrets everywhere.

    A secret that one text names as such (`API_KEY=…`) is also replaced in the texts where it stands bare. Only
    values that are hardly words by chance are spread: see `values.is_strong`.
    """
    unique = list(dict.fromkeys(texts))
    raw = [text.encode("utf-8", "surrogatepass") for text in unique]
    strong: set[bytes] = set()
    for unit, findings in zip(raw, redactor.find_in_units(raw), strict=True):
        strong |= _strong_values(unit, findings)
    clean = [_spread(unit, strong) for unit in redactor.redact_units(raw)]
    final = redactor.redact_units(clean)
    lookup = {text: unit.decode("utf-8", "surrogatepass") for text, unit in zip(unique, final, strict=True)}
    return [lookup[text] for text in texts]

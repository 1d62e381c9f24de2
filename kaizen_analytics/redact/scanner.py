"""Find everything in a text that must not leave: literals first, patterns where a literal stands, in every view.

A text is a sequence of units (the lines of `--lines`, or one unit for a whole text) in one buffer. No finding
crosses a unit. All rules see the buffer as it is and every view of it with a layer of escapes removed; findings
come back as ranges of the original bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import chain, groupby
from typing import TYPE_CHECKING, NamedTuple

import ahocorasick_rs
import numpy as np

from kaizen_analytics.redact import assignments, runs
from kaizen_analytics.redact.blocks import PRIVATE_KEY_KEYWORDS, find_private_key
from kaizen_analytics.redact.canonical import (
    SEPARATOR,
    Indexes,
    OffsetMap,
    remove_invisible,
    select_units,
    unescape,
)
from kaizen_analytics.redact.data import byte_table
from kaizen_analytics.redact.rules import Hit, compile_rule, load_rules
from kaizen_analytics.redact.runs import find_personal
from kaizen_analytics.redact.spans import Category, Detection
from kaizen_analytics.redact.tables import find_in_tables
from kaizen_analytics.redact.values import VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from kaizen_analytics.redact.pseudonyms import KnownIdentities
    from kaizen_analytics.redact.rules import Find, Span

_Maps = tuple[OffsetMap, ...]

_WINDOW = 1 << 20
"""Bytes scanned at once; what is longer is scanned in windows that overlap by `_OVERLAP`."""
_OVERLAP = 1 << 15
_DEEPEST_VIEW = 4
_DEEPEST_ENCODING = 2
_SURROUNDINGS = (250, 1200)
"""Bytes before and behind a literal that rules look at; where no escape stood in them, one view is enough."""
_BACKSLASHED = frozenset(
    {
        "home-folder",
        "windows-share-host",
        "windows-share-user",
        "domain-account",
        "named-domain-account",
        "percent-login",
    }
)
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


class Scanner:
    """All rules, compiled once; `find` may be called any number of times.

    Args:
        known: words that are identities wherever they stand.
        tokens_only: look only for vendors' token formats, in the text as it is.
    """

    def __init__(self, known: KnownIdentities | None = None, *, tokens_only: bool = False) -> None:
        self._tokens_only = tokens_only
        self._known = dict(known.words) if known and not tokens_only else {}
        finders: dict[bytes, list[_Finder]] = {}
        marked: dict[tuple[bytes, bytes, bytes], list[_Finder]] = {}
        for finder, anchors in _all_finders(self._known, tokens_only=tokens_only):
            for anchor in anchors:
                if finder.ahead:
                    marked.setdefault((anchor, finder.behind, finder.ahead), []).append(finder)
                else:
                    finders.setdefault(anchor, []).append(finder)
        for anchor in () if tokens_only else (*assignments.ANCHORS, *VENDORS):
            finders.setdefault(anchor, [])
        literals = list(finders)
        rules = [*finders.values(), *marked.values()]
        self._finders = [[finder[:4] for finder in group] for group in rules]
        self._marks = [
            _Mark(byte[0], byte_table(ahead), number) for number, (byte, _, ahead) in enumerate(marked, len(literals))
        ]
        self._ruled = np.array([bool(group) for group in rules])
        self._behind = np.array([_may_stand_behind(group) for group in rules])
        all_literals = [*literals, *(byte for byte, _, _ in marked)]
        self._naming = _membership(all_literals, () if tokens_only else assignments.ANCHORS)
        self._vendors = _membership(all_literals, () if tokens_only else VENDORS)
        self._automaton = ahocorasick_rs.BytesAhoCorasick(
            literals,
            matchkind=ahocorasick_rs.MatchKind.Standard,
            implementation=ahocorasick_rs.Implementation.DFA,
        )

    def find(self, raw: bytes, bounds: Sequence[int] | None = None) -> list[Detection]:
        """Return findings in `raw`, unordered and perhaps overlapping.

        Args:
            raw: the text.
            bounds: ascending offsets at which units end, each behind `SEPARATOR`; the whole text is one by default.
        """
        ends = np.asarray(bounds if bounds is not None else [len(raw)], np.int64)
        if len(raw) <= _WINDOW + _OVERLAP:
            return self._find_in_window(raw, ends, 0)
        return [finding for start, end in _windows(len(raw)) for finding in self._in_window(raw, ends, start, end)]

    def _in_window(self, raw: bytes, ends: np.ndarray, start: int, end: int) -> list[Detection]:
        inner = ends[(ends > start) & (ends < end)] - start
        found = self._find_in_window(raw[start:end], np.append(inner, end - start), 0)
        return [Detection(item.start + start, item.end + start, item.category, item.kind) for item in found]

    def _find_in_window(self, raw: bytes, ends: np.ndarray, depth: int) -> list[Detection]:
        if self._tokens_only:
            return list(self._search(raw, ends, ()))
        findings: set[Detection] = set()
        view = raw
        maps: _Maps = ()
        steps: _Maps = ()
        for layer in range(_DEEPEST_VIEW + 1):
            if clean := remove_invisible(view):
                view, step = clean
                ends, maps, steps = step.to_view(ends), (step, *maps), (step, *steps)
            found = self._search(view, ends, steps if layer else ())
            deeper = unescape(view)
            if layer or deeper is None:
                found |= self._inspect_runs(view, depth)
            if deeper is None or layer == _DEEPEST_VIEW:
                findings |= _chain(found, maps)
                break
            findings |= _chain({finding for finding in found if not _is_torn(finding, deeper[1])}, maps)
            changed = np.zeros(len(ends), np.bool_)
            for places in (deeper[1].raw_starts, clean[1].positions if clean else ends[:0]):
                changed[np.searchsorted(ends[:-1], places, side="right")] = True
            if not layer and not changed.all():
                rest, _, step = select_units(view, ends, ~changed)
                findings |= _chain(self._inspect_runs(rest, depth), (step, *maps))
            view, step = deeper
            ends, maps, steps = step.to_view(ends), (step, *maps), (step,)
            if not changed.all():  # nothing more is in the others
                view, ends, step = select_units(view, ends, changed)
                maps, steps = (step, *maps), (step, *steps)
        return list(findings)

    def _search(self, view: bytes, bounds: Indexes, steps: _Maps) -> set[Detection]:
        """Try the rules of every literal in `view`, where `steps` changed the view that was searched before it."""
        literals, starts = self._find_literals(view, bounds, steps)
        units = np.searchsorted(bounds, starts, side="right")
        lows, highs = np.append(0, bounds)[units], bounds[units]
        ends = bounds.tolist()
        ruled = self._ruled[literals]
        if len(starts):
            ruled &= self._behind[literals, np.frombuffer(b"\0" + view[:-1], np.uint8)[starts]]
        findings = self._try_rules(view, *(column[ruled].tolist() for column in (literals, starts, lows, highs)))
        if self._tokens_only or not len(starts):
            return findings
        names = assignments.keep_promising(view, assignments.locate_names(view, starts[self._naming[literals]]))
        findings |= self._inspect_tables(view, ends, [(start, end) for start, end, _, column in names if column])
        vendors = assignments.locate_names(view, starts[self._vendors[literals]])
        for places, vendor in ((names, False), (vendors, True)):
            for start, end, assigned, _ in places:
                unit = bisect_right(ends, start)
                hit = Hit(view, start, ends[unit - 1] if unit else 0, ends[unit])
                if assigned and end <= hit.high and (value := assignments.find_assignment(hit, end, vendor=vendor)):
                    findings.add(Detection(*value, "assignment"))
        return findings

    def _inspect_tables(self, view: bytes, ends: list[int], names: list[Span]) -> set[Detection]:
        findings: set[Detection] = set()
        for unit, inside in groupby(names, key=lambda name: bisect_right(ends, name[0])):
            low = ends[unit - 1] if unit else 0
            findings |= {Detection(*found, "table") for found in find_in_tables(view, list(inside), low, ends[unit])}
        return findings

    def _try_rules(
        self, view: bytes, literals: list[int], starts: list[int], lows: list[int], highs: list[int]
    ) -> set[Detection]:
        """Try the rules of each literal where it starts, in a unit from `lows` to `highs`."""
        findings: set[Detection] = set()
        done: defaultdict[int, int] = defaultdict(int)
        for literal, start, low, high in zip(literals, starts, lows, highs, strict=True):
            for number, find, category, kind in self._finders[literal]:
                if start >= done[number] and (span := find(view, start, low, high)):
                    done[number] = span[1]
                    findings.add(Detection(*span, category, kind))
        return findings

    def _find_literals(self, view: bytes, bounds: Indexes, steps: _Maps) -> tuple[Indexes, Indexes]:
        """Return the numbers and starts of all literals, without those that the former view showed just so.

        What a unit has around a literal decides, never what its neighbours have.
        """
        hits = self._automaton.find_matches_as_indexes(view.lower(), overlapping=True)
        table = np.fromiter(chain.from_iterable(hits), np.int64, 3 * len(hits)).reshape(-1, 3)
        literals, starts = self._add_marks(view, table[:, 0], table[:, 1])
        if not steps or not len(starts):
            return literals, starts
        units = np.searchsorted(bounds, starts, side="right")
        lows = np.maximum(starts - _SURROUNDINGS[0], np.append(0, bounds)[units])
        highs = np.minimum(starts + _SURROUNDINGS[1], bounds[units] - 1)
        changed = np.zeros(len(starts), np.bool_)
        for step in steps:
            changed |= ~step.is_plain(lows, highs)
            lows, highs = step.to_raw(lows), step.to_raw(highs)
        return literals[changed], starts[changed]

    def _add_marks(self, view: bytes, literals: Indexes, starts: Indexes) -> tuple[Indexes, Indexes]:
        """Append the rare places of frequent bytes: an automaton would list every one of them."""
        characters = np.frombuffer(b"\0" + view + b"\0", np.uint8)
        places = {byte: np.flatnonzero(characters == byte) for byte in {mark.byte for mark in self._marks}}
        for mark in self._marks:
            found = places[mark.byte]
            found = found[self._behind[mark.number, characters[found - 1]] & mark.ahead[characters[found + 1]]] - 1
            literals = np.append(literals, np.full(len(found), mark.number))
            starts = np.append(starts, found)
        return literals, starts

    def _inspect_runs(self, view: bytes, depth: int) -> set[Detection]:
        findings: set[Detection] = set()
        classes = runs.classify(view)
        found = runs.find_runs(view, classes)
        encoded: list[tuple[int, int, bytes]] = []
        for start, end, token_like, text_like in found:
            if token_like:
                findings |= {Detection(*token) for token in runs.find_run_tokens(view, start, end)}
            if text_like and depth < _DEEPEST_ENCODING and (text := runs.decode_run(view[start:end])) is not None:
                encoded.append((start, end, text))
        if depth < _DEEPEST_ENCODING:
            encoded += runs.find_dumps(view)
            encoded += runs.find_wrapped(view, found)
        findings |= self._inspect_encoded(view, encoded, depth)
        return findings | {Detection(*found) for found in (*runs.find_addresses(view, classes), *find_personal(view))}

    def _inspect_encoded(self, view: bytes, encoded: list[tuple[int, int, bytes]], depth: int) -> set[Detection]:
        """Judge runs of `view` by the texts that they encode; a whole run is the finding."""
        ends = np.cumsum([len(text) + len(SEPARATOR) for *_, text in encoded], dtype=np.int64)
        buffer = b"".join(text + SEPARATOR for *_, text in encoded)
        found = self._find_in_window(buffer, ends, depth + 1) if encoded else []
        findings: set[Detection] = set()
        for number in {int(ends.searchsorted(finding.start, side="right")) for finding in found}:
            start, end, _ = encoded[number]
            while view[end : end + 1] == b"=":
                end += 1
            findings.add(Detection(start, end, Category.ENCODED, "encoded-text"))
        return findings


def _chain(findings: set[Detection], maps: _Maps) -> set[Detection]:
    """Return findings in a view as findings in the original text."""
    found = list(findings)
    starts, ends = np.array([finding[:2] for finding in found], np.int64).reshape(-1, 2).T
    for step in maps:
        starts, ends = step.to_raw(starts), step.to_raw(ends, after=True)
    places = zip(starts.tolist(), ends.tolist(), found, strict=True)
    return {Detection(start, end, *finding[2:]) for start, end, finding in places}


def _is_torn(finding: Detection, escapes: OffsetMap) -> bool:
    """Whether a finding begins or ends inside an escape; the next view shows what really stands there.

    In the paths of Windows a backslash is no escape, so a home folder may begin behind one.
    """
    if finding.kind in _BACKSLASHED:
        return False
    return escapes.tears(finding.start) or escapes.tears(finding.end)


def _windows(size: int) -> Iterable[tuple[int, int]]:
    for start in range(0, size, _WINDOW):
        yield max(0, start - _OVERLAP), min(size, start + _WINDOW + _OVERLAP)


def _may_stand_behind(finders: list[_Finder]) -> NDArray[np.bool_]:
    """Return for each byte whether one of the rules looks at its literal behind it."""
    allowed = np.zeros(256, np.bool_)
    for finder in finders:
        allowed |= byte_table(finder.behind or bytes(range(256)))
    return allowed


def _membership(literals: list[bytes], members: Iterable[bytes]) -> NDArray[np.bool_]:
    chosen = set(members)
    return np.array([literal in chosen for literal in literals])


class _Finder(NamedTuple):
    """One rule as the search calls it; `number` tells its progress through a text from that of the others."""

    number: int
    find: Find
    category: Category
    kind: str
    behind: bytes = b""
    """The bytes that may stand before a literal of the rule; empty for any."""
    ahead: bytes = b""


class _Mark(NamedTuple):
    """A frequent byte that rules look for only where another of some bytes follows; `number` is that of its rules."""

    byte: int
    ahead: NDArray[np.bool_]
    number: int


def _all_finders(
    known: dict[bytes, Category],
    *,
    tokens_only: bool,
) -> Iterable[tuple[_Finder, Iterable[bytes]]]:
    files = ("tokens",) if tokens_only else ("tokens", "contexts", "identities", "personal")
    rules = [rule for name in files for rule in load_rules(name) if not rule.form]
    for number, rule in enumerate(rules):
        yield _Finder(number, compile_rule(rule), rule.category, rule.id, rule.behind, rule.ahead), rule.keywords
    if tokens_only:
        return
    yield _Finder(len(rules), find_private_key, Category.PEM, "private-key"), PRIVATE_KEY_KEYWORDS
    for number, (word, category) in enumerate(known.items(), len(rules) + 1):
        yield _Finder(number, _word_finder(word), category, "known-identity"), (word,)


def _word_finder(word: bytes) -> Find:
    def find(view: bytes, anchor: int, low: int, high: int) -> Span | None:
        end = anchor + len(word)
        before = view[anchor - 1] if anchor > low else 0
        after = view[end] if end < high else 0
        return (anchor, end) if end <= high and before not in _WORD and after not in _WORD else None

    return find

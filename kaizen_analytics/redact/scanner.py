"""Find everything in a text that must not leave: literals first, patterns where a literal stands, in every view.

A text is a sequence of units (the lines of `--lines`, or one unit for a whole text) in one buffer. No finding
crosses a unit. All rules see the buffer as it is and every view of it with a layer of escapes removed; findings
come back as ranges of the original bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

import ahocorasick_rs
import numpy as np

from kaizen_analytics.redact import assignments, contexts, identities, runs
from kaizen_analytics.redact.canonical import Indexes, OffsetMap, chain_to_raw, remove_invisible, unescape
from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.rules import Hit, Rule
from kaizen_analytics.redact.spans import Finding
from kaizen_analytics.redact.tokens import FORMATS, TokenFormat
from kaizen_analytics.redact.vocabulary import VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from kaizen_analytics.redact.identities import KnownIdentities

Maps = tuple[OffsetMap, ...]

WINDOW = 1 << 20
"""Bytes scanned at once; what is longer is scanned in windows that overlap by `OVERLAP`."""
OVERLAP = 1 << 15
_DEEPEST_VIEW = 4
_DEEPEST_ENCODING = 2
_SURROUNDINGS = (250, 1200)
"""Bytes before and behind a literal that rules look at; where no escape stood in them, one view is enough."""
_LONGEST_TOKEN = 16_384
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
        for finder, anchors in _all_finders(self._known, tokens_only=tokens_only):
            for anchor in anchors:
                finders.setdefault(anchor, []).append(finder)
        for anchor in () if tokens_only else (*assignments.ANCHORS, *VENDORS):
            finders.setdefault(anchor, [])
        literals = list(finders)
        self._finders = list(finders.values())
        self._ruled = np.array([bool(rules) for rules in self._finders])
        self._naming = _membership(literals, () if tokens_only else assignments.ANCHORS)
        self._vendors = _membership(literals, () if tokens_only else VENDORS)
        self._automaton = ahocorasick_rs.BytesAhoCorasick(
            literals,
            matchkind=ahocorasick_rs.MatchKind.Standard,
            implementation=ahocorasick_rs.Implementation.DFA,
        )

    def find(self, raw: bytes, bounds: Sequence[int] | None = None) -> list[Finding]:
        """Return findings in `raw`, unordered and perhaps overlapping.

        Args:
            raw: the text.
            bounds: ascending offsets at which units end, the last being `len(raw)`; one unit by default.
        """
        ends = np.asarray(bounds if bounds is not None else [len(raw)], np.int64)
        if len(raw) <= WINDOW + OVERLAP:
            return self._find_in_window(raw, ends, 0)
        return [finding for start, end in _windows(len(raw)) for finding in self._in_window(raw, ends, start, end)]

    def _in_window(self, raw: bytes, ends: np.ndarray, start: int, end: int) -> list[Finding]:
        inner = ends[(ends > start) & (ends < end)] - start
        found = self._find_in_window(raw[start:end], np.append(inner, end - start), 0)
        return [Finding(item.start + start, item.end + start, item.category, item.kind) for item in found]

    def _find_in_window(self, raw: bytes, ends: np.ndarray, depth: int) -> list[Finding]:
        findings: set[Finding] = set()
        view: bytes = raw
        maps: Maps = ()
        if not self._tokens_only and (clean := remove_invisible(raw)):
            view, maps = clean[0], (clean[1],)
            ends = clean[1].to_view(ends)
        self._search(view, ends.tolist(), maps, findings)
        if self._tokens_only:
            return list(findings)
        deeper = unescape(view)
        if deeper is None:
            self._inspect_runs(view, maps, findings, depth)
        elif not maps:
            findings = {finding for finding in findings if not _is_torn(finding, deeper[1])}
        for _ in range(_DEEPEST_VIEW):
            if deeper is None:
                break
            view, step = deeper
            maps = (step, *maps)
            ends = step.to_view(ends)
            self._search(view, ends.tolist(), maps, findings, step)
            deeper = unescape(view)
            self._inspect_runs(view, maps, findings, depth)
        return list(findings)

    def _search(
        self,
        view: bytes,
        ends: list[int],
        maps: Maps,
        findings: set[Finding],
        step: OffsetMap | None = None,
    ) -> None:
        """Try the rules of every literal in `view`, where `step` changed the view that was searched before it."""
        literals, starts = self._find_literals(view, step)
        ruled = self._ruled[literals]
        self._try_rules(view, ends, zip(literals[ruled].tolist(), starts[ruled].tolist(), strict=True), maps, findings)
        if self._tokens_only or not len(starts):
            return
        breaks = assignments.find_name_breaks(view)
        for members, vendor in ((self._naming, False), (self._vendors, True)):
            for start, end in assignments.locate_names(view, breaks, starts[members[literals]]):
                unit = bisect_right(ends, start)
                hit = Hit(view, start, ends[unit - 1] if unit else 0, ends[unit])
                if end <= hit.high and (span := assignments.find_assignment(hit, end, vendor=vendor)):
                    findings.add(Finding(*chain_to_raw(maps, *span), Category.ASSIGNMENT, "assignment"))

    def _try_rules(
        self,
        view: bytes,
        ends: list[int],
        literals: Iterable[tuple[int, int]],
        maps: Maps,
        findings: set[Finding],
    ) -> None:
        done: dict[int, int] = {}
        low, high = 0, ends[0]
        for literal, start in literals:
            if not low <= start < high:
                unit = bisect_right(ends, start)
                low, high = (ends[unit - 1] if unit else 0), ends[unit]
            hit = Hit(view, start, low, high)
            for finder in self._finders[literal]:
                if start >= done.get(finder.number, 0):
                    finder.find(hit, maps, findings, done)

    def _find_literals(self, view: bytes, step: OffsetMap | None) -> tuple[Indexes, Indexes]:
        """Return the numbers and starts of all literals, without those that the view outside showed just so."""
        hits = self._automaton.find_matches_as_indexes(view.lower(), overlapping=True)
        table = np.array(hits, np.int64).reshape(-1, 3)
        literals, starts = table[:, 0], table[:, 1]
        if step is None or not hits:
            return literals, starts
        changed = ~step.is_plain(starts, *_SURROUNDINGS)
        return literals[changed], starts[changed]

    def _inspect_runs(
        self,
        view: bytes,
        maps: Maps,
        findings: set[Finding],
        depth: int,
    ) -> None:
        classes = runs.classify(view)
        for start, end, digits, text_like in runs.find_runs(view, classes):
            if digits:
                for first, last, category, kind in runs.find_run_tokens(view, start, end):
                    findings.add(Finding(*chain_to_raw(maps, first, last), category, kind))
            if text_like and depth < _DEEPEST_ENCODING and (text := runs.decode_run(view[start:end])) is not None:
                self._inspect_encoded(text, view, (start, end), maps, findings, depth)
        for first, last, category, kind in runs.find_addresses(view, classes):
            findings.add(Finding(*chain_to_raw(maps, first, last), category, kind))

    def _inspect_encoded(
        self,
        text: bytes,
        view: bytes,
        run: tuple[int, int],
        maps: Maps,
        findings: set[Finding],
        depth: int,
    ) -> None:
        """Judge a run of `view` by the text that it encodes; the whole run is the finding."""
        start, end = run
        if self._find_in_window(text, np.array([len(text)]), depth + 1):
            while view[end : end + 1] == b"=":
                end += 1
            findings.add(Finding(*chain_to_raw(maps, start, end), Category.ENCODED, "encoded-text"))


def _is_torn(finding: Finding, escapes: OffsetMap) -> bool:
    """Whether a finding begins or ends inside an escape; the next view shows what really stands there.

    In the paths of Windows a backslash is no escape, so a home folder may begin behind one.
    """
    if finding.kind == "home-folder":
        return False
    return escapes.tears(finding.start) or escapes.tears(finding.end)


def _windows(size: int) -> Iterable[tuple[int, int]]:
    for start in range(0, size, WINDOW):
        yield max(0, start - OVERLAP), min(size, start + WINDOW + OVERLAP)


def _membership(literals: list[bytes], members: Iterable[bytes]) -> NDArray[np.bool_]:
    chosen = set(members)
    return np.array([literal in chosen for literal in literals])


class _Finder:
    """One rule as the search calls it: adds findings, and says how far the text is dealt with for this rule."""

    __slots__ = ("find", "number")

    def __init__(self, number: int, find: Callable[[Hit, Maps, set[Finding], dict[int, int]], None]) -> None:
        self.number = number
        self.find = find


def _all_finders(
    known: dict[bytes, Category],
    *,
    tokens_only: bool,
) -> Iterable[tuple[_Finder, Iterable[bytes]]]:
    number = 0
    for form in FORMATS:
        yield _Finder(number, _format_finder(number, form)), form.anchors
        number += 1
    if tokens_only:
        return
    for rule in (*contexts.RULES, *identities.RULES):
        yield _Finder(number, _rule_finder(number, rule)), rule.anchors
        number += 1
    yield _Finder(number, _private_key_finder(number)), contexts.PRIVATE_KEY_ANCHORS
    for offset, (word, category) in enumerate(known.items(), number + 1):
        yield _Finder(offset, _word_finder(word, category)), (word,)


def _format_finder(number: int, form: TokenFormat) -> Callable[[Hit, Maps, set[Finding], dict[int, int]], None]:
    rule = Rule(
        kind=form.kind,
        category=form.category,
        anchors=form.anchors,
        pattern=form.pattern,
        before=form.before,
        left=form.left,
        after=_LONGEST_TOKEN,
    )
    return _rule_finder(number, rule)


def _rule_finder(number: int, rule: Rule) -> Callable[[Hit, Maps, set[Finding], dict[int, int]], None]:
    def find(hit: Hit, maps: Maps, findings: set[Finding], done: dict[int, int]) -> None:
        span = rule.find(hit)
        if span:
            done[number] = span[1]
            findings.add(Finding(*chain_to_raw(maps, *span), rule.category, rule.kind))

    return find


def _private_key_finder(number: int) -> Callable[[Hit, Maps, set[Finding], dict[int, int]], None]:
    def find(hit: Hit, maps: Maps, findings: set[Finding], done: dict[int, int]) -> None:
        span = contexts.find_private_key(hit)
        if span:
            done[number] = span[1]
            findings.add(Finding(*chain_to_raw(maps, *span), Category.PEM, "private-key"))

    return find


def _word_finder(word: bytes, category: Category) -> Callable[[Hit, Maps, set[Finding], dict[int, int]], None]:
    def find(hit: Hit, maps: Maps, findings: set[Finding], done: dict[int, int]) -> None:
        del done
        start, end = hit.start, hit.start + len(word)
        before = hit.view[start - 1] if start > hit.low else 0
        after = hit.view[end] if end < hit.high else 0
        if end <= hit.high and before not in _WORD and after not in _WORD:
            findings.add(Finding(*chain_to_raw(maps, start, end), category, "known-identity"))

    return find

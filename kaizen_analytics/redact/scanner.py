"""Find everything in a text that must not leave: literals first, patterns where a literal stands, in every view.

A text is a sequence of units (the lines of `--lines`, or one unit for a whole text) in one buffer. No finding
crosses a unit. All rules see the buffer as it is and every view of it with a layer of escapes removed; findings
come back as ranges of the original bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import ahocorasick_rs
import numpy as np

from kaizen_analytics.redact import assignments, contexts, identities, runs
from kaizen_analytics.redact.canonical import Indexes, OffsetMap, chain_to_raw, remove_invisible, unescape
from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.rules import Hit, Rule, compile_rule
from kaizen_analytics.redact.spans import Finding
from kaizen_analytics.redact.tokens import FORMATS, TokenFormat
from kaizen_analytics.redact.vocabulary import VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from kaizen_analytics.redact.identities import KnownIdentities
    from kaizen_analytics.redact.rules import Find, Span

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
_IN_WORD = np.zeros(256, np.bool_)
_IN_WORD[list(_WORD)] = True


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
        edged = {form.kind for form in FORMATS if form.is_edged}
        for finder, anchors in _all_finders(self._known, tokens_only=tokens_only):
            for anchor in anchors:
                finders.setdefault(anchor, []).append(finder)
        for anchor in () if tokens_only else (*assignments.ANCHORS, *VENDORS):
            finders.setdefault(anchor, [])
        literals = list(finders)
        self._finders = list(finders.values())
        self._ruled = np.array([bool(rules) for rules in self._finders])
        self._edged = np.array([bool(rules) and all(rule.kind in edged for rule in rules) for rules in self._finders])
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
        ruled = self._ruled[literals] & ~(self._edged[literals] & _follows_word(view, starts))
        self._try_rules(view, ends, zip(literals[ruled].tolist(), starts[ruled].tolist(), strict=True), maps, findings)
        if self._tokens_only or not len(starts):
            return
        breaks = assignments.find_name_breaks(view)
        for members, vendor in ((self._naming, False), (self._vendors, True)):
            found = assignments.locate_names(view, breaks, starts[members[literals]])
            for start, end in found if vendor else assignments.keep_promising(view, found):
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
            for number, find, category, kind in self._finders[literal]:
                if start >= done.get(number, 0) and (span := find(view, start, low, high)):
                    done[number] = span[1]
                    findings.add(Finding(*chain_to_raw(maps, *span), category, kind))

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


def _follows_word(view: bytes, starts: Indexes) -> NDArray[np.bool_]:
    """Whether a letter or digit stands before each offset; for offset 0 a padding byte does not."""
    return _IN_WORD[np.frombuffer(b"\0" + view[:-1], np.uint8)[starts]] if len(starts) else np.zeros(0, np.bool_)


def _membership(literals: list[bytes], members: Iterable[bytes]) -> NDArray[np.bool_]:
    chosen = set(members)
    return np.array([literal in chosen for literal in literals])


class _Finder(NamedTuple):
    """One rule as the search calls it; `number` tells its progress through a text from that of the others."""

    number: int
    find: Find
    category: Category
    kind: str


def _all_finders(
    known: dict[bytes, Category],
    *,
    tokens_only: bool,
) -> Iterable[tuple[_Finder, Iterable[bytes]]]:
    rules = [_format_rule(form) for form in FORMATS]
    rules += [] if tokens_only else [*contexts.RULES, *identities.RULES]
    for number, rule in enumerate(rules):
        yield _Finder(number, compile_rule(rule), rule.category, rule.kind), rule.anchors
    if tokens_only:
        return
    yield _Finder(len(rules), _find_private_key, Category.PEM, "private-key"), contexts.PRIVATE_KEY_ANCHORS
    for number, (word, category) in enumerate(known.items(), len(rules) + 1):
        yield _Finder(number, _word_finder(word), category, "known-identity"), (word,)


def _format_rule(form: TokenFormat) -> Rule:
    return Rule(
        kind=form.kind,
        category=form.category,
        anchors=form.anchors,
        pattern=form.pattern,
        before=form.before,
        left=form.left,
        after=_LONGEST_TOKEN,
    )


def _find_private_key(view: bytes, anchor: int, low: int, high: int) -> Span | None:
    return contexts.find_private_key(Hit(view, anchor, low, high))


def _word_finder(word: bytes) -> Find:
    def find(view: bytes, anchor: int, low: int, high: int) -> Span | None:
        end = anchor + len(word)
        before = view[anchor - 1] if anchor > low else 0
        after = view[end] if end < high else 0
        return (anchor, end) if end <= high and before not in _WORD and after not in _WORD else None

    return find

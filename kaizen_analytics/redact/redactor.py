"""Replace what the scanner finds, until nothing is left to find.

After a replacement, what stands around the placeholders is scanned again, and the whole text once more if something is
found there. So `redact(redact(x)) == redact(x)`, which tests compare over every kind in every encoding. It ends: each
round replaces bytes outside placeholders, and placeholders are never touched again.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import ahocorasick_rs

from kaizen_analytics.redact.blocks import KeyLines
from kaizen_analytics.redact.canonical import SEPARATOR, resolve_value
from kaizen_analytics.redact.pseudonyms import KEY_BYTES, KnownIdentities, Pseudonyms, find_key, load_key
from kaizen_analytics.redact.scanner import Scanner
from kaizen_analytics.redact.spans import PLACEHOLDER, Category, Detection, merge_findings, render_placeholder
from kaizen_analytics.redact.tables import Tables
from kaizen_analytics.redact.values import is_strong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO


_Tree = TypeVar("_Tree")
_Cover = Callable[[object, str, str], str]

_READ_BYTES = 1 << 18
_SURROUNDINGS = 300
"""Bytes around a placeholder that are scanned again; what is found there has the whole unit scanned again."""
_BATCH = 1 << 18
"""Bytes of small units that are scanned together; less than the scanner's window, so that none is ever cut."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """A scanner and the key of its pseudonyms; with `secrets_only`, people, machines and organisations stay."""

    scanner: Scanner
    pseudonyms: Pseudonyms
    secrets_only: bool = False

    def redact(self, text: str) -> str:
        """Return `text` with every secret and identity replaced; lone surrogates survive."""
        raw = text.encode("utf-8", "surrogatepass")
        return self.redact_bytes(raw).decode("utf-8", "surrogatepass")

    def redact_bytes(self, raw: bytes) -> bytes:
        """Return `raw` with every secret and identity replaced, also where a strong secret stands bare."""
        while findings := self.choose(merge_findings(raw, self.scanner.find(raw))):
            strong = _strong_values(raw, findings)
            raw = _spread(self.replace(raw, findings), strong)
            if not self._find_open([raw]):
                break
        return raw

    def redact_units(self, units: Sequence[bytes]) -> list[bytes]:
        """Return each unit redacted on its own; many are scanned in one buffer, which is faster."""
        done = list(units)
        open_units = list(range(len(done)))
        while open_units:
            found = self.find_in_units([done[index] for index in open_units])
            changed = []
            for index, findings in zip(open_units, found, strict=True):
                if findings:
                    done[index] = self.replace(done[index], findings)
                    changed.append(index)
            open_units = [changed[place] for place in self._find_open([done[index] for index in changed])]
        return done

    def _find_open(self, units: Sequence[bytes]) -> list[int]:
        """Return the places of the units whose placeholders may have made something of what stands around them."""
        parts = [(place, part) for place, unit in enumerate(units) for part in _around_placeholders(unit)]
        found = self.find_in_units([part for _, part in parts])
        return list(dict.fromkeys(place for (place, _), findings in zip(parts, found, strict=True) if findings))

    def find_in_units(self, units: Sequence[bytes]) -> list[list[Detection]]:
        """Return the findings of each unit, in its own offsets; a unit never sees its neighbours."""
        return [findings for batch in _batches(units) for findings in self._find_in_batch(batch)]

    def _find_in_batch(self, units: Sequence[bytes]) -> list[list[Detection]]:
        raw = SEPARATOR.join((*units, b""))
        starts = [0, *accumulate(len(unit) + len(SEPARATOR) for unit in units)]
        found: list[list[Detection]] = [[] for _ in units]
        for finding in self.choose(merge_findings(raw, self.scanner.find(raw, starts[1:]))):
            unit = bisect_right(starts, finding.start) - 1
            first, last = finding.start - starts[unit], min(finding.end - starts[unit], len(units[unit]))
            if first < last:
                found[unit].append(finding._replace(start=first, end=last))
        return found

    def choose(self, findings: list[Detection]) -> list[Detection]:
        """Return those of the findings that this redactor replaces."""
        return [finding for finding in findings if finding.is_secret] if self.secrets_only else findings

    def replace(self, raw: bytes, findings: Iterable[Detection]) -> bytes:
        """Put placeholders in the place of disjoint, ordered `findings`."""
        parts: list[bytes] = []
        position = 0
        for finding in findings:
            parts += [raw[position : finding.start], self._placeholder(raw, finding)]
            position = finding.end
        parts.append(raw[position:])
        return b"".join(parts)

    def _placeholder(self, raw: bytes, finding: Detection) -> bytes:
        if finding.is_secret:
            return render_placeholder(finding.category, None)
        value = resolve_value(raw[finding.start : finding.end])
        return render_placeholder(finding.category, self.pseudonyms.name(finding.category, value))


def open_redactor(known: KnownIdentities, key: bytes | None = None) -> Redactor:
    """Return a redactor that knows `known`, under the key of this account's pseudonyms unless another is given.

    Raises:
        RedactionError: the key cannot be read or made.

    >>> open_redactor(KnownIdentities(), bytes(32)).redact("token of npm")
    'token of npm'
    """
    return Redactor(Scanner(known), Pseudonyms(load_key(find_key()) if key is None else key))


def cover_secrets(tree: _Tree) -> _Tree:
    """Return a copy of records, lists and mappings without secrets; names of people and machines stay.

    >>> cover_secrets(["password = 'Xy7!abcd'", "/home/maria"])
    ["password = '<R:kv>'", '/home/maria']
    """
    return redact_tree(Redactor(Scanner(), Pseudonyms(bytes(KEY_BYTES)), secrets_only=True), tree)


def _batches(units: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Group units into buffers that the scanner takes whole; a unit that is longer stands alone."""
    batch: list[bytes] = []
    size = 0
    for unit in units:
        if batch and size + len(unit) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(unit)
        size += len(unit) + len(SEPARATOR)
    if batch:
        yield batch


def _around_placeholders(raw: bytes) -> list[bytes]:
    """Return the parts of a text that read otherwise than before it was redacted; the rest was scanned as it is."""
    parts: list[list[int]] = []
    for match in PLACEHOLDER.finditer(raw):
        start, end = max(0, match.start() - _SURROUNDINGS), match.end() + _SURROUNDINGS
        if parts and start <= parts[-1][1]:
            parts[-1][1] = end
        else:
            parts.append([start, end])
    return [raw[start:end] for start, end in parts]


def _strong_values(raw: bytes, findings: Iterable[Detection]) -> set[bytes]:
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

    >>> from kaizen_analytics.redact import Pseudonyms, Scanner
    >>> texts = ['API_KEY=a8Fj2kQ9zLp3', 'got a8Fj2kQ9zLp3 back']
    >>> redact_many(Redactor(Scanner(), Pseudonyms(bytes(32))), texts)
    ['API_KEY=<R:kv>', 'got <R:t2> back']
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


# Lines


class Line(NamedTuple):
    r"""A line without its end, what of it was redacted, and its end (`\n`, `\r\n`, `\r` or nothing)."""

    text: bytes
    findings: list[Detection]
    end: bytes


@dataclass(slots=True)
class Tally:
    """How much went through and what was redacted, by kind."""

    lines: int = 0
    changed_lines: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, findings: Iterable[Detection]) -> None:
        """Count one line or text and its findings."""
        before = self.kinds.total()
        self.kinds.update(finding.kind for finding in findings)
        self.lines += 1
        self.changed_lines += self.kinds.total() > before


def _read_blocks(source: BinaryIO) -> Iterator[bytes]:
    """Yield blocks of whole lines; only a line longer than a block takes more memory."""
    pieces: list[bytes] = []
    while block := source.read(_READ_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield b"".join((*pieces, block[:cut]))
            pieces = []
        pieces.append(block[cut:])
    yield b"".join(pieces)


def redact_lines(source: BinaryIO, redactor: Redactor, *, explain: bool = False) -> Iterator[Line]:
    """Yield every line of `source` redacted on its own.

    Any bytes are taken: NUL and invalid UTF-8 pass through. Private keys and tables are followed from line to line.
    With `explain`, findings carry offsets into the line as it came; without, they are empty and one scan is saved.

    >>> import io
    >>> from kaizen_analytics.redact import Pseudonyms, Scanner
    >>> lines = redact_lines(io.BytesIO(b'password="Xy7!abcd"'), Redactor(Scanner(), Pseudonyms(bytes(32))))
    >>> [line.text for line in lines]
    [b'password="<R:kv>"']
    """
    keys, tables = KeyLines(), Tables()
    for block in _read_blocks(source):
        texts, keyed = block.splitlines(), keys.may_stand_in(block)
        ends = [line[len(text) :] for line, text in zip(block.splitlines(keepends=True), texts, strict=True)]
        shown = redactor.find_in_units(texts) if explain else [[] for _ in texts]
        for number, text in enumerate(texts):
            key = keys.find(text) if keyed else []
            cells = [] if key else tables.find(text)
            if not key and not cells:
                continue
            body = [Detection(*span, Category.PEM, "private-key") for span in key]
            body += [Detection(*cell, "table") for cell in cells]
            if body := redactor.choose(merge_findings(text, body)):
                texts[number] = redactor.replace(text, body)
                shown[number] = body if explain else []
        yield from map(Line, redactor.redact_units(texts), shown, ends)


# Records


def redact_tree(redactor: Redactor, tree: _Tree, *, cover: _Cover | None = None) -> _Tree:
    """Return a copy of `tree` in which every text is redacted; numbers, enumerations and the shape stay.

    Texts belong together: a secret that one of them names as such also goes where another holds it bare.

    Args:
        redactor: Replaces secrets and identities.
        tree: Records, lists and mappings of any depth.
        cover: Replaces names before anything else; it gets the record, the name of its field, and a text below it.

    >>> from kaizen_analytics.redact import Pseudonyms, Scanner
    >>> redact_tree(Redactor(Scanner(), Pseudonyms(bytes(32))), {"n": 1, "text": 'password="Xy7!abcd"'})
    {'n': 1, 'text': 'password="<R:kv>"'}
    """
    if cover is not None:
        tree = _cover_names(tree, cover)
    texts: dict[str, str] = {}
    _rebuild(tree, lambda text: texts.setdefault(text, text))
    clean = dict(zip(texts, redact_many(redactor, list(texts)), strict=True))
    redacted: _Tree = _rebuild(tree, clean.__getitem__)
    return redacted


def _rebuild(node: Any, change: Callable[[str], str], *, records: bool = True) -> Any:  # noqa: ANN401
    if type(node) is str:  # the words of an enumeration are ours
        return change(node)
    if is_dataclass(node) and not isinstance(node, type):
        return _rebuild_record(node, change) if records else node
    if isinstance(node, Mapping):
        return {_rebuild(key, change): _rebuild(value, change, records=records) for key, value in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)([_rebuild(item, change, records=records) for item in node])
    return node


def _cover_names(node: Any, cover: _Cover) -> Any:  # noqa: ANN401
    if is_dataclass(node) and not isinstance(node, type):
        copied = copy.copy(node)
        for one in fields(node):
            below = _cover_names(getattr(node, one.name), cover)
            object.__setattr__(copied, one.name, _rebuild(below, partial(cover, node, one.name), records=False))
        return copied
    if isinstance(node, Mapping):
        return {key: _cover_names(value, cover) for key, value in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)([_cover_names(item, cover) for item in node])
    return node


def _rebuild_record(node: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    """Copy a record field by field: its constructor need not accept a placeholder."""
    copied = copy.copy(node)
    for one in fields(node):
        object.__setattr__(copied, one.name, _rebuild(getattr(node, one.name), change))
    return copied

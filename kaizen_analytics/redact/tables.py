r"""Values below telling names: tables of CSV, of Markdown and databases, in aligned columns, and of SQL.

A header is a line whose cells are names of which one promises something. The lines below it that have as many cells
are its rows; what stands in a promising column is judged as the value of an assignment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kaizen_analytics.redact.assignments import judge_value
from kaizen_analytics.redact.rules import load_rules
from kaizen_analytics.redact.spans import Category
from kaizen_analytics.redact.values import Promise, is_person, judge_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.redact.rules import Span

Found = tuple[int, int, Category]

_QUOTED = rb"\"(?:[^\"\n]|\"\"){0,2000}\"|'(?:[^'\n]|''){0,2000}'"
_CELLS = {
    b"|": re.compile(rb"([^|\n]*)(?:\||$)"),
    b"\xe2\x94\x82": re.compile(rb"((?:(?!\xe2\x94\x82)[^\n])*)(?:\xe2\x94\x82|$)"),
    b"\t": re.compile(rb"([^\t\n]*)(?:\t|$)"),
    b";": re.compile(rb"[ ]*(" + _QUOTED + rb"|[^;\n]*)(?:;|$)"),
    b",": re.compile(rb"[ ]*(" + _QUOTED + rb"|[^,\n]*)(?:,|$)"),
    b"  ": re.compile(rb"((?:[^ \n]|[ ](?![ ]))+)(?:[ ]{2,}|$)"),
}
_MARK = re.compile(b"|".join(map(re.escape, _CELLS)))
_NAME = re.compile(rb"#?[^\W\d\x80-\xff]?[\w\x80-\xff][\w\x80-\xff./#%-]{0,40}(?: [\w\x80-\xff./#%-]{1,20}){0,3}")
_RULE = re.compile(rb"[\s|:+=-]*[=-]{2}[\s|:+=-]*|(?:\xe2[\x94-\x96][\x80-\xbf]|\s)+")
_RECORD = re.compile(rb"(?m)-\[ RECORD \d+ \][-+]*$|\*{10,} \d+\. row \*{10,}$")
_STATEMENT = re.compile(
    rb"(?i)(?:copy|insert into) [^\s(]{1,80}\s{0,3}\(([^()\n]{1,1000})\)\s{0,3}(?:from stdin|values)"
)
_TUPLE = re.compile(rb"\((?:'(?:[^'\n]|''){0,2000}'|[^()'\n]){1,4000}\)")
_PASSWORD_ELSEWHERE = re.compile(
    b"|".join(
        re.escape(word)
        for rule in load_rules("contexts")
        if rule.id == "password-in-another-language"
        for word in rule.keywords
    )
)
_TITLES = frozenset(
    b"setting settings name key variable parameter property field option item variable_name config what".split()
)
_OF_PEOPLE = frozenset(b"email e-mail mail e_mail email_address phone telefon telephone correo login role".split())
_VALUES = frozenset(b"value values wert valeur valor content data".split())
_BEGINNING = re.compile(rb"[:\[(=][ ]?[\"']|[=>]|: ")
_END = re.compile(rb"[\"'][ ]?[}\]]|[\"'][ ]?,[ ]?[\"'][\w-]{1,40}[\"'][ ]?:|</")
"""Where a text of JSON, a URL or HTML that holds the table begins and ends."""
_BEFORE = re.compile(rb"(?s)(?:.*(?:[:\[(=][ ]?[\"']|[=>]|: ))?[^(){}=<>]*\Z|(?i:.{0,200}(?:copy|insert into) )")
_BEHIND = re.compile(rb"[^(){}=<>:\n]{0,1000}\n|[^\n|]{0,60}[|]|(?i:[^()\n]{0,1000}\)\s{0,3}(?:from stdin|values))")
"""What stands around a name of a column: other names, the statement, or its value in a table of two columns."""
_LONGEST_HEADER = 1000
_HEADER_BYTES = bytes(
    byte for byte in range(256) if byte > 0x7F or chr(byte).isalnum() or chr(byte) in "_./#%-|,; \t\"'`*\r\v\f"
)
"""What names of columns, their quotes and the marks between them consist of."""
_LONGEST_LOOK = 50
_MARKS = b"\"'`* \t"


@dataclass(slots=True)
class Tables:
    """Follows lines: names the values in the rows of a table whose header came before them."""

    _mark: bytes = b""
    _width: int = 0
    _paired: int = 0  # the column that names the value of each row, counted from 1
    _about_people: bool = False  # so a column that is just called "name" holds theirs
    _columns: dict[int, tuple[bytes, Promise]] = field(default_factory=dict)

    def find(self, line: bytes) -> list[Found]:
        """Return what of the next line stands in a promising column.

        >>> tables = Tables()
        >>> tables.find(b"user,token"), tables.find(b"mrossi,a8Fj2kQ9zLp3")
        ([], [(0, 6, <Category.USER: 'us'>), (7, 19, <Category.ASSIGNMENT: 'kv'>)])
        """
        if self._columns:
            if _RULE.fullmatch(line):
                return []
            cells = _split(line, self._mark)
            if self._mark == b"\t" and len(cells) == self._width - 1 and 0 not in self._columns:
                cells = [(0, 0), *cells]  # the number of the row was taken for that of a line
            if len(cells) == self._width:
                return list(self._judge(line, cells))
        self._columns = {}
        if line[:2] in (b"-[", b"**") and _RECORD.match(line):
            self._open(b"|", [b"name", b"value"])
        elif len(line) <= _LONGEST_HEADER and not line.translate(None, _HEADER_BYTES):
            self._read_header(line)
        if b"(" not in line:
            return []
        start = line[: 2 * _LONGEST_HEADER].lower()
        told = b"insert into " in start or b"copy " in start
        statement = _STATEMENT.search(line, 0, 2 * _LONGEST_HEADER) if told else None
        return list(self._judge_statement(line, statement)) if statement else []

    @property
    def is_open(self) -> bool:
        """Whether the next line can be a row."""
        return bool(self._columns)

    def _read_header(self, line: bytes) -> None:
        text = line.strip()
        if not _MARK.search(text):
            return
        mark = next(mark for mark in _CELLS if mark in text)
        names = [line[start:end] for start, end in _split(line, mark)]
        if sum(map(bool, names)) >= 2 and all(_NAME.fullmatch(name) for name in names if name):
            self._open(mark, names)

    def _open(self, mark: bytes, names: list[bytes]) -> None:
        self._paired = 0
        lowered = [name.lower() for name in names]
        if len(names) <= 5 and _TITLES.intersection(lowered) and _VALUES.intersection(lowered):
            title = next(place for place, name in enumerate(lowered) if name in _TITLES)
            value = next(place for place, name in enumerate(lowered) if name in _VALUES)
            self._mark, self._width, self._paired, self._columns = (
                mark,
                len(names),
                title + 1,
                {value: (b"", Promise.NOTHING)},
            )
            return
        promises = {place: (name, _judge_column(name)) for place, name in enumerate(names)}
        known = {place: told for place, told in promises.items() if told[1] is not Promise.NOTHING}
        about_people = not _OF_PEOPLE.isdisjoint(lowered)
        if about_people or any(promise is not Promise.LABEL for _, promise in known.values()):
            self._mark, self._width, self._columns = mark, len(names), known
            self._about_people = about_people or any(
                promise in (Promise.PASSWORD, Promise.ACCOUNT) for _, promise in known.values()
            )

    def _judge(self, line: bytes, cells: list[Span]) -> Iterator[Found]:
        columns = self._columns
        if self._paired:
            name = line[slice(*cells[self._paired - 1])]
            columns = {place: (name, _judge_column(name)) for place in columns}
        for place, (name, promise) in columns.items():
            start, end = cells[place]
            value = line[start:end]
            category = None if promise is Promise.NOTHING else judge_value(promise, name, value, quoted=True)
            if promise is Promise.LABEL and self._about_people and is_person(value):
                category = Category.NAME
            if category:
                yield start, end, category

    def _judge_statement(self, line: bytes, statement: re.Match[bytes]) -> Iterator[Found]:
        """Read `insert into t (a, b) values (…), (…)`; the rows of `copy t (a, b) from stdin` follow on lines."""
        copied = statement[0].lower().endswith(b"stdin")
        self._open(b"\t" if copied else b",", [name.strip(_MARKS + b"[]") for name in statement[1].split(b",")])
        if copied or not self._columns:
            return
        for row in _TUPLE.finditer(line, statement.end()):
            start = row.start() + 1
            cells = _split(row[0][1:-1], b",")
            if len(cells) == self._width:
                yield from self._judge(line, [(first + start, last + start) for first, last in cells])
        self._columns = {}


def _judge_column(name: bytes) -> Promise:
    promise = judge_name(name)
    elsewhere = promise is Promise.NOTHING and _PASSWORD_ELSEWHERE.search(name.lower())
    return Promise.PASSWORD if elsewhere else promise


def _split(line: bytes, mark: bytes) -> list[Span]:
    """Return the ranges of the cells, without blanks and quotes around them."""
    cells = []
    for match in _CELLS[mark].finditer(line.rstrip()):
        text = match[1].lstrip(_MARKS)
        start = match.end(1) - len(text)
        cells.append((start, start + len(text.rstrip(_MARKS))))
        if match.end() == match.end(1):
            break
    return cells


def find_in_tables(view: bytes, names: list[Span], low: int, high: int) -> Iterator[Found]:
    r"""Yield what stands in tables of `view` between two limits; `names` are where telling names stand, ascending.

    >>> view = b"| user | token |\n| --- | --- |\n| mrossi | a8Fj2kQ9zLp3 |"
    >>> [view[start:end] for start, end, _ in find_in_tables(view, [(2, 6)], 0, len(view))]
    [b'mrossi', b'a8Fj2kQ9zLp3']
    """
    done = low
    for start, last in names:
        line = max(done, start - _LONGEST_HEADER)
        line = max(line, view.rfind(b"\n", line, start) + 1)
        if start < done or not (_BEHIND.match(view, last, high) and _BEFORE.match(view, line, start)):
            continue
        position, tables = _find_first_line(view, done, line, start), Tables()
        while position < high:
            end = view.find(b"\n", position, high)
            end = high if end < 0 else end
            closed = _END.search(view, position, end)
            cells = tables.find(view[position : closed.start() if closed else end])
            yield from ((position + first, position + last, category) for first, last, category in cells)
            position = done = end + 1
            if closed or not tables.is_open:
                break


def _find_first_line(view: bytes, low: int, position: int, start: int) -> int:
    """Return where the header of the name at `start` begins, or the first line above it of a table of two columns."""
    for _ in range(_LONGEST_LOOK):
        above = max(low, view.rfind(b"\n", low, max(low, position - 1)) + 1)
        if above >= position or not (b"|" in view[above:position] or _RECORD.search(view, above, position)):
            break
        position = above
    end = view.find(b"\n", position, start)
    *_, position = position, *(text.end() for text in _BEGINNING.finditer(view, position, start if end < 0 else end))
    return position

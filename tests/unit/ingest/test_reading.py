"""Reading: complete lines only, with a hash of everything that was understood."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.ingest import reading
from kaizen_analytics.ingest.reading import _feed_lines


class Lines:
    def __init__(self):
        self.fed = []
        self.skipped = []

    def feed(self, offset, text):
        self.fed.append((offset, text))

    def skip(self, offset):
        self.skipped.append(offset)


def read(content):
    lines = Lines()
    return lines, _feed_lines(lines, io.BytesIO(content), size=len(content))


def test_a_torn_last_line_waits():
    lines, found = read(b'{"a":1}\n{"b":')

    assert lines.fed == [(0, b'{"a":1}')]
    assert found[0] == 8


@pytest.mark.parametrize("mark", ["utf-16-le", "utf-16-be"])
def test_a_copy_in_utf_16_is_read(mark):
    content = '\ufeff{"a":1}\r\n{"b":2}\r\n'.encode(mark)

    lines, found = read(content)

    assert [line.rstrip() for _, line in lines.fed] == [b'{"a":1}', b'{"b":2}']
    assert found[0] == len(content)


def test_a_last_line_that_is_whole_needs_no_line_end():
    lines, found = read(b'{"a":1}\n{"b":2}')

    assert len(lines.fed) == 2
    assert found[0] == 15


def test_a_line_over_the_cap_is_skipped_and_the_next_one_read(monkeypatch):
    monkeypatch.setattr(reading, "LINE_CAP_BYTES", 20)

    lines, found = read(b"x" * 50 + b'\n{"a":1}\n')

    assert (lines.skipped, lines.fed, found[0]) == ([0], [(51, b'{"a":1}')], 59)


def test_a_line_of_fifty_megabytes_is_one_reject_and_holds_no_memory():
    import tracemalloc

    content = b'{"a":"' + b"x" * 50_000_000 + b'"}\n{"b":1}\n'
    tracemalloc.start()
    lines, _ = read(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (lines.skipped, len(lines.fed)) == ([0], 1)
    assert peak < 90_000_000


PIECES = st.lists(st.sampled_from([b'{"a":1}', b"\n", b"\n", b"x" * 30, b'{"b":', b" ", b"\r\n"]), max_size=12)


@given(pieces=PIECES, split=st.integers(0, 60))
def test_what_is_read_is_every_whole_line_and_does_not_depend_on_where_an_earlier_reading_stopped(pieces, split):
    content = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LINE_CAP_BYTES", 20)
        whole, (end, hashed) = read(content)
        early, (until, _) = read(content[:split])

    assert hashed == f"{zlib.crc32(content[:end]):08x}"
    assert until <= split
    lines = content[:end].split(b"\n")
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    found = [(start, line) for start, line in zip(starts, lines, strict=True) if line.strip()]
    assert whole.fed == [(start, line) for start, line in found if len(line) <= 20]
    assert whole.skipped == [start for start, line in found if len(line) > 20]
    if until < split or content[:split].endswith(b"\n"):  # a whole document at the end is taken without its line end
        assert early.fed == [one for one in whole.fed if one[0] < until]

"""Reading by offset: complete lines only, in slices, with a hash of everything that was understood."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.ingest import checkpoints
from kaizen_analytics.ingest.checkpoints import feed_lines


class Lines:
    def __init__(self):
        self.fed = []
        self.skipped = []

    def feed(self, offset, text):
        self.fed.append((offset, text))

    def skip(self, offset):
        self.skipped.append(offset)


def read(content, start=0, lines=None, **more):
    handle = io.BytesIO(content)
    handle.seek(start)
    lines = lines or Lines()
    crc = zlib.crc32(content[:start])
    return lines, feed_lines(lines, handle, start=start, size=len(content), crc=crc, **more)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(checkpoints, "_CHUNK_BYTES", 7)
    monkeypatch.setattr(checkpoints, "LINE_CAP_BYTES", 20)


def test_a_torn_last_line_waits():
    lines, reading = read(b'{"a":1}\n{"b":')

    assert lines.fed == [(0, b'{"a":1}')]
    assert reading.end == 8


def test_a_last_line_that_is_whole_needs_no_line_end():
    lines, reading = read(b'{"a":1}\n{"b":2}')

    assert len(lines.fed) == 2
    assert reading.end == 15


@pytest.mark.usefixtures("small")
def test_a_line_over_the_cap_is_skipped_and_the_next_one_read():
    lines, reading = read(b"x" * 50 + b'\n{"a":1}\n')

    assert (lines.skipped, lines.fed, reading.end) == ([0], [(51, b'{"a":1}')], 59)


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


@given(pieces=PIECES, limit=st.integers(1, 60))
def test_slices_read_what_one_reading_reads(pieces, limit):
    content = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "_CHUNK_BYTES", 7)
        patch.setattr(checkpoints, "LINE_CAP_BYTES", 20)
        whole, expected = read(content)
        lines, start, more = Lines(), 0, True
        while more:
            _, reading = read(content, start, lines, limit=limit)
            start, more = reading.end, reading.more

    assert (lines.fed, lines.skipped) == (whole.fed, whole.skipped)
    assert (reading.end, reading.prefix_hash) == (expected.end, expected.prefix_hash)
    assert expected.prefix_hash == checkpoints.hash_text(zlib.crc32(content[: expected.end]))

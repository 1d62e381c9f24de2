from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner, redact_lines
from kaizen_analytics.redact import redactor as stream_module

REDACTOR = Redactor(Scanner(), Pseudonyms(bytes(32)))
LINES = st.lists(
    st.sampled_from(
        [
            b"\n",
            b"\r\n",
            b"\r",
            b"\0",
            b"\xff\xfe",
            b"plain",
            b'password="Xy7!abcd"',
            b"-----BEGIN PRIVATE KEY-----",
            b"a@b.dev",
            b" ",
        ]
    ),
    max_size=30,
).map(b"".join)


def _pass_through(raw: bytes) -> bytes:
    return b"".join(line.text + line.end for line in redact_lines(io.BytesIO(raw), REDACTOR))


@given(LINES | st.binary(max_size=200))
def test_line_ends_are_kept_exactly(raw):
    redacted = _pass_through(raw)
    assert [line[len(line.rstrip(b"\r\n")) :] for line in redacted.splitlines(keepends=True)] == [
        line[len(line.rstrip(b"\r\n")) :] for line in raw.splitlines(keepends=True)
    ]


@given(LINES, st.integers(1, 40))
def test_blocks_do_not_matter(raw, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "_READ_BYTES", block)
        small = _pass_through(raw)
    assert small == _pass_through(raw)


def test_nul_and_invalid_utf_8_pass_unchanged():
    raw = b"a\0b\xff\xc3\nlast without end"
    assert _pass_through(raw) == raw


def test_a_line_sees_nothing_of_its_neighbours():
    assert _pass_through(b"password:\nXy7abcd99\n") == b"password:\nXy7abcd99\n"


def test_explained_lines_carry_kinds_and_offsets():
    [line] = redact_lines(io.BytesIO(b'x password="Xy7!abcd"\n'), REDACTOR, explain=True)
    [finding] = line.findings
    assert (finding.start, finding.end, finding.kind) == (12, 20, "assignment")


def test_memory_does_not_grow_with_the_stream(monkeypatch):
    import tracemalloc

    monkeypatch.setattr(stream_module, "_READ_BYTES", 1 << 14)

    class Endless(io.RawIOBase):
        def __init__(self, blocks: int) -> None:
            self.left = blocks

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"a plain line of text\n" * (size // 21) if self.left >= 0 else b""

    def peak(blocks: int) -> int:
        tracemalloc.start()
        for _ in redact_lines(Endless(blocks), REDACTOR):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)
    assert peak(20) < 1.5 * peak(4)

from __future__ import annotations

import gzip
import io
import random

import polars as pl
import pytest

from benchmarks.redaction_corpus import fill
from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.core.words import escape_markdown
from kaizen_analytics.redact import Scanner, find_leaks, refuse_leaks

SCANNER = Scanner()
SECRET = fill("ghp_{an36}", random.Random(11))


def _encode(name: str, text: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(text.encode())
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        pl.DataFrame({"n": [1], "text": [text]}).write_parquet(buffer)
        return buffer.getvalue()
    return text.encode()


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.json", "a.csv", "a.ipynb", "a.jsonl.gz", "a.parquet"])
def test_an_artefact_with_a_secret_is_refused(name):
    raw = _encode(name, f"<p>value {SECRET} here</p>")
    with pytest.raises(RedactionError, match=rf"{name} held 1 value.*github-token") as caught:
        refuse_leaks({name: raw}, SCANNER)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["a.html", "a.jsonl.gz", "a.parquet"])
def test_a_clean_artefact_passes(name):
    refuse_leaks({name: _encode(name, "<p>Median 12,400 tokens, from 2026-01-01 to 2026-02-01.</p>")}, SCANNER)


def test_what_was_redacted_is_clean(redactor):
    text = redactor.redact(f"token={SECRET} /home/maria/x jane.doe@corp.io")
    assert find_leaks("a.md", text.encode(), SCANNER) == ()


def test_identities_are_leaks_too():
    assert [leak.kind for leak in find_leaks("a.md", b"from /home/maria/app", SCANNER)] == ["home-folder"]


def test_what_markdown_escapes_is_still_found():
    text = escape_markdown("from jane_doe@corp.io")
    assert "\\_" in text
    [leak] = find_leaks("a.md", text.encode(), SCANNER)
    assert (leak.kind, leak.end - leak.start) == ("email", len(escape_markdown("jane_doe@corp.io")))


def test_files_that_are_not_written_yet_are_refused_by_name():
    refuse_leaks({"a.html": b"<p>nothing</p>"}, SCANNER)
    with pytest.raises(RedactionError, match=r"b\.json held 1 value.*nothing was written"):
        refuse_leaks({"a.html": b"<p>nothing</p>", "b.json": f'{{"x": "{SECRET}"}}'.encode()}, SCANNER)

from __future__ import annotations

import gzip
import random
import zlib

import polars as pl
import pytest

from benchmarks.redaction_corpus import fill
from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact import Scanner, find_leaks, refuse_leaks, rescan
from kaizen_analytics.text import escape_markdown

SCANNER = Scanner()
SECRET = fill("ghp_{an36}", random.Random(11))


def _write(path, text):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        pl.DataFrame({"n": [1], "text": [text]}).write_parquet(path)
    elif path.suffix == ".pdf":
        path.write_bytes(b"%PDF-1.7\nstream\n" + zlib.compress(f"BT ({text}) Tj ET".encode()) + b"\nendstream\n%%EOF")
    else:
        path.write_text(text)


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.json", "a.csv", "a.ipynb", "a.jsonl.gz", "a.parquet", "a.pdf"])
def test_an_artefact_with_a_secret_is_deleted(tmp_path, name):
    path = tmp_path / name
    _write(path, f"<p>value {SECRET} here</p>")
    with pytest.raises(RedactionError, match=rf"{name} held 1 value.*github-token") as caught:
        rescan(path, SCANNER)
    assert not path.exists()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["a.html", "a.jsonl.gz", "a.parquet", "a.pdf"])
def test_a_clean_artefact_stays(tmp_path, name):
    path = tmp_path / name
    _write(path, "<p>Median 12,400 tokens, from 2026-01-01 to 2026-02-01.</p>")
    rescan(path, SCANNER)
    assert path.exists()


def test_what_was_redacted_is_clean(tmp_path, redactor):
    path = tmp_path / "a.md"
    path.write_text(redactor.redact(f"token={SECRET} /home/maria/x jane.doe@corp.io"))
    assert find_leaks(path, SCANNER) == ()


def test_identities_are_leaks_too(tmp_path):
    path = tmp_path / "a.md"
    path.write_text("from /home/maria/app")
    assert [leak.kind for leak in find_leaks(path, SCANNER)] == ["home-folder"]


def test_what_markdown_escapes_is_still_found(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(escape_markdown("from jane_doe@corp.io"))
    assert "\\_" in path.read_text()
    [leak] = find_leaks(path, SCANNER)
    assert (leak.kind, leak.end - leak.start) == ("email", len("jane_doe@corp.io"))


def test_files_that_are_not_written_yet_are_refused_by_name():
    refuse_leaks({"a.html": b"<p>nothing</p>"}, SCANNER)
    with pytest.raises(RedactionError, match=r"b\.json held 1 value.*nothing was written"):
        refuse_leaks({"a.html": b"<p>nothing</p>", "b.json": f'{{"x": "{SECRET}"}}'.encode()}, SCANNER)

"""Where an export goes, and in which form."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from obstore.store import MemoryStore

from kaizen_analytics.core.errors import ConfigError, LakeError
from kaizen_analytics.exports import files as places
from kaizen_analytics.exports.columns import TABLES
from kaizen_analytics.exports.files import Format, _encode, deliver, open_place
from kaizen_analytics.exports.tables import Export
from kaizen_analytics.redact import Scanner

SCANNER = Scanner()


@pytest.fixture
def made() -> Export:
    table = TABLES["sessions"]()
    row = dict.fromkeys(table.schema) | {"session": "ab12", "events": 3, "cost_usd": -0.5, "branch_name": "=cmd|x"}
    return Export(table=table, frame=pl.DataFrame([row], schema=table.schema), markdown="# text\n")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every object store is one in memory."""
    store = MemoryStore()
    monkeypatch.setattr(places, "_open_remote", lambda _url: store)


def test_a_file_by_its_ending(made: Export, tmp_path: Path):
    for form in Format:
        deliver(made, str(tmp_path / f"out.{form.value}"), None, SCANNER)
    assert pl.read_parquet(tmp_path / "out.parquet").equals(made.frame)
    document = {"schema": "kaizen.sessions/1", "rows": made.frame.to_dicts()}
    assert json.loads((tmp_path / "out.json").read_text()) == document
    assert (tmp_path / "out.md").read_text() == "# text\n"
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header.split(",")[:2] == ["session", "parent_session"]
    assert "'=cmd|x" in row
    assert ",-0.5," in row, "a negative number is no formula"
    assert {path.name for path in tmp_path.iterdir()} == {"out.md", "out.json", "out.csv", "out.parquet"}


def test_a_folder_gets_a_file_named_after_the_table(made: Export, tmp_path: Path):
    place, _ = deliver(made, str(tmp_path), Format.CSV, SCANNER)
    assert place == str(tmp_path / "sessions.csv")
    assert (tmp_path / "sessions.csv").exists()


def test_a_file_url_is_a_file(made: Export, tmp_path: Path):
    deliver(made, (tmp_path / "a b.json").as_uri(), None, SCANNER)
    assert (tmp_path / "a b.json").exists()


def test_standard_output_gets_the_bytes(made: Export):
    assert deliver(made, "-", Format.MARKDOWN, SCANNER) == (None, b"# text\n")


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("form", list(Format))
def test_an_object_store_gets_what_a_file_would(made: Export, form: Format):
    place, data = deliver(made, f"s3://team/x/out.{form.value}", None, SCANNER)
    assert place == f"s3://team/x/out.{form.value}"
    assert data == _encode(made, form) == open_place("s3://team/x").read(f"out.{form.value}")
    assert deliver(made, "s3://team/x/", form, SCANNER)[0] == f"s3://team/x/sessions.{form.value}"
    assert open_place("s3://team/x").sizes("") == {f"{name}.{form.value}": len(data) for name in ("out", "sessions")}


@pytest.mark.parametrize(
    ("to", "form", "message"),
    [
        ("out.xlsx", None, r"'\.xlsx'; expected one of \.md, \.json, \.csv, \.parquet"),
        ("-", None, "does not name a format"),
        ("ftp://host/out.csv", None, "names a ftp URL"),
        ("s3://key:secret@bucket/out.csv", None, "holds credentials"),
        ("s3://bucket/", None, "does not name a format"),
        ("nowhere/deep/out.csv", None, "Cannot write into"),
    ],
)
def test_what_cannot_be_is_refused(
    made: Export, tmp_path: Path, monkeypatch, to: str, form: Format | None, message: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        deliver(made, to, form, SCANNER)


def test_without_the_extra_the_message_names_it(made: Export, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    places._open_remote.cache_clear()
    with pytest.raises(ConfigError, match=r"need the extra 'lake': pip install 'kaizen_analytics\[lake\]'"):
        deliver(made, "s3://bucket/out.csv", None, SCANNER)


# Places


@pytest.fixture(params=["folder", "object store"])
def open_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], places.Storage]:
    request.getfixturevalue("bucket")
    return lambda: open_place(str(tmp_path / "lake") if request.param == "folder" else "s3://team/lake")


def test_an_empty_place_is_not_made_by_looking(open_empty: Callable[[], places.Storage], tmp_path: Path):
    place = open_empty()
    assert place.sizes("catalogues") == {}
    with pytest.raises(FileNotFoundError):
        place.read("lake.parquet")
    place.remove("lake.parquet")
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_listed_read_and_removed(open_empty: Callable[[], places.Storage], tmp_path: Path):
    place = open_empty()
    staged = tmp_path / "staged"
    staged.write_bytes(b"new")
    place.write("a/b.parquet", b"old")
    place.write_all({"a/b.parquet": staged, "c.parquet": staged})
    assert place.sizes("a") == {"a/b.parquet": 3}
    assert place.read("a/b.parquet") == place.read("c.parquet") == b"new"
    place.remove("a/b.parquet")
    assert place.sizes("") == {"c.parquet": 3}


def test_a_file_that_is_not_what_was_written_is_damaged(open_empty: Callable[[], places.Storage], tmp_path: Path):
    place = open_empty()
    place.write("a.parquet", b"content")
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert place.fetch([("a.parquet", digest)], tmp_path)[0].read_bytes() == b"content"
    with pytest.raises(LakeError, match=r"a\.parquet is damaged"):
        place.fetch([("a.parquet", "0" * 64)], tmp_path)


def test_a_bucket_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, bucket: None):
    def refuse(*_: object) -> None:
        raise FileNotFoundError("404 Not Found: NoSuchBucket\n\nDebug source")

    assert bucket is None
    monkeypatch.setattr("obstore.put", refuse)
    with pytest.raises(LakeError, match=r"s3://team/x: out\.csv cannot be written: 404 Not Found: NoSuchBucket\. "):
        open_place("s3://team/x").write("out.csv", b"")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match=r"file: x\.parquet cannot be written: .*Nothing that was there changed"):
        open_place(str(tmp_path / "file")).write("x.parquet", b"")

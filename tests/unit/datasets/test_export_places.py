"""Where an export goes, and in which form."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.datasets.export import Export
from kaizen_analytics.datasets.places import deliver
from kaizen_analytics.errors import ConfigError
from kaizen_analytics.exports import Format
from kaizen_analytics.redact import Scanner

SCANNER = Scanner()


@pytest.fixture
def made() -> Export:
    dataset = DATASETS["sessions"]()
    row = dict.fromkeys(dataset.schema) | {"session": "ab12", "events": 3, "cost_usd": -0.5, "branch_name": "=cmd|x"}
    return Export(dataset=dataset, rows=[row], summary=lambda: "# text\n")


def test_a_file_by_its_ending(made: Export, tmp_path: Path):
    for form in Format:
        deliver(made, str(tmp_path / f"out.{form.value}"), None, SCANNER)
    assert pl.read_parquet(tmp_path / "out.parquet").equals(made.frame)
    assert json.loads((tmp_path / "out.json").read_text()) == {"schema": "kaizen.sessions/1", "rows": list(made.rows)}
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


@pytest.mark.parametrize("name", ["sessions.parquet", "sessions.csv"])
def test_an_object_store_gets_what_a_file_would(made: Export, tmp_path: Path, name: str, monkeypatch):
    from kaizen_analytics.datasets import places

    sent = {}
    real = places._send
    monkeypatch.setattr(places, "_send", lambda sink, frame, url: sent.update({url: (sink, frame)}))
    place, data = deliver(made, f"s3://bucket/{name}", None, SCANNER)
    [(url, (sink, frame))] = sent.items()
    assert place == url == f"s3://bucket/{name}"
    real(sink, frame, str(tmp_path / name))
    assert data
    assert deliver(made, str(tmp_path / f"local-{name}"), None, SCANNER)[1][:4] == (tmp_path / name).read_bytes()[:4]


@pytest.mark.parametrize(
    ("to", "form", "message"),
    [
        ("out.xlsx", None, r"'\.xlsx'; expected one of \.md, \.json, \.csv, \.parquet"),
        ("-", None, "does not tell the format"),
        ("ftp://host/out.csv", None, "names a ftp URL"),
        ("s3://key:secret@bucket/out.csv", None, "holds credentials"),
        ("s3://bucket/out.md", None, r"takes \.csv and \.parquet, not \.md"),
        ("nowhere/deep/out.csv", None, "Cannot write into"),
    ],
)
def test_what_cannot_be_is_refused(
    made: Export, tmp_path: Path, monkeypatch, to: str, form: Format | None, message: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        deliver(made, to, form, SCANNER)

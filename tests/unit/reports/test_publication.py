"""Files that appear whole or not at all, and folder names that stay inside."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.reports.publication import (
    describe_failure,
    find_staging,
    make_staging,
    publish,
    resolve_latest,
    set_aside,
    slug,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["exp-7f3a", "a", "report_1.2"])
def test_a_plain_name_is_its_own_folder(text: str) -> None:
    assert slug(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../../etc", "a/b", "latest", "_failed", ".lock", "x" * 300, "\x00", "\ud800"]
)
def test_other_names_get_a_hash(text: str) -> None:
    name = slug(text)
    assert name != text
    assert name[0] not in "._"
    assert "/" not in name
    assert len(name) <= 60


@given(st.lists(st.text(max_size=8), unique=True, min_size=2, max_size=2))
def test_two_names_never_share_a_folder(texts: list[str]) -> None:
    assert slug(texts[0]) != slug(texts[1])


def test_publishing_moves_latest(tmp_path: Path) -> None:
    assert resolve_latest(tmp_path) is None
    for run_id in ("one", "two"):
        staging = make_staging(tmp_path, run_id)
        (staging / "report.html").write_text(run_id)
        publish(staging, run_id)
    assert resolve_latest(tmp_path) == tmp_path / "two"
    assert (tmp_path / "one" / "report.html").read_text() == "one"
    assert find_staging(tmp_path) == []


def test_a_failed_run_is_set_aside_without_touching_latest(tmp_path: Path) -> None:
    publish(make_staging(tmp_path, "one"), "one")
    assert set_aside(make_staging(tmp_path, "two"), "two") == tmp_path / "_failed" / "two"
    assert resolve_latest(tmp_path) == tmp_path / "one"


def test_a_failure_names_its_remedy() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/out/report.html")
    assert describe_failure(error) == "No space left on device (/out/report.html); free some space and run again"

"""What `doctor` says of the transcripts on disk: not stored yet, soon deleted, or in the store alone."""

from __future__ import annotations

import json
import os

import pytest
from ingest_lines import claude_file, codex_file, lines, meta, prompt
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store

DAY = 86_400


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "c#"  # a sign that also stands between a database and its conversation
    for n, stem in enumerate(("s1", "s2")):
        path = claude_file(folder, stem, lines(*(prompt(f"{stem}{m}", m, session=stem) for m in (1, 2))))
        os.utime(path, (1_767_225_600 + n * DAY,) * 2)
    return folder


@pytest.fixture
def path(tmp_path, home):
    with Store.open(tmp_path / "store.db", create=True) as store:
        run_ingest(store, [home])
    return tmp_path / "store.db"


def doctor(path, home):
    run = CliRunner().invoke(app, ["doctor", "--store", str(path), "--home", str(home), "--json"])
    found = json.loads(run.stdout)
    return found["not_stored"], found["only_stored"]


def test_what_is_stored_is_neither(path, home):
    assert doctor(path, home) == (
        {"files": 0, "deleted_at_ms": None},
        {"sessions": 0, "events": 0, "prompts": 0},
    )


@pytest.mark.parametrize(("days", "until"), [(None, 30), (7, 7), ("x", 30)])
def test_transcripts_that_are_new_or_grew_are_counted_with_the_day_the_first_goes(path, home, days, until):
    if days is not None:
        (home / ".claude/settings.json").write_text(json.dumps({"cleanupPeriodDays": days}))
    grown = claude_file(home, "s1", lines(*(prompt(f"s1{m}", m) for m in (1, 2, 3))))
    os.utime(grown, (1_767_225_600 + 9 * DAY,) * 2)
    fresh = claude_file(home, "s3", lines(prompt("d", 3)))
    os.utime(fresh, (1_767_225_600 + 5 * DAY,) * 2)
    os.utime(claude_file(home, "s4", lines(prompt("f", 4))), (253_402_300_799,) * 2)  # a wrong clock
    codex_file(home, "c1", lines(meta("c1")))

    pending, _ = doctor(path, home)

    assert pending == {"files": 4, "deleted_at_ms": (1_767_225_600 + (5 + until) * DAY) * 1000}
    text = CliRunner().invoke(app, ["doctor", "--store", str(path), "--home", str(home)]).stdout
    assert "4 transcripts on this machine are not stored, or grew since. Claude Code deletes the first on 2026-" in text
    only = ["ingest", "--store", str(path), "--home", str(home), "--agent", "codex"]
    left = CliRunner().invoke(app, only).stdout
    assert "3 transcripts on this machine are not stored, or grew since. Claude Code deletes the first on 2026-" in left


@pytest.mark.parametrize(
    ("settings", "until"),
    [
        ({"user": 60, "project": 9}, 9),
        ({"user": 60, "project": 9, "local": 90}, 90),
        ({"project": "x", "user": 60}, 60),
        ({"user": 0}, 0),
        ({"user": -1}, 30),
        ({"user": True}, 30),
        ({"user": 3_650_000}, 99_999),
        ({"local": None, "user": 7}, 7),
    ],
)
def test_the_day_comes_from_every_settings_file_of_claude_code(path, home, tmp_path, settings, until):
    project = tmp_path / 'a "b"'
    files = {
        "user": home / ".claude/settings.json",
        "project": project / ".claude/settings.json",
        "local": project / ".claude/settings.local.json",
    }
    (project / ".claude").mkdir(parents=True)
    for name, days in settings.items():
        files[name].write_text(json.dumps({"cleanupPeriodDays": days}), encoding="utf-8-sig")
    fresh = claude_file(home, "s3", lines(prompt("d", 3) | {"cwd": str(project)}), slug="-other")
    os.utime(fresh, (1_767_225_600,) * 2)

    pending, _ = doctor(path, home)

    assert pending == {"files": 1, "deleted_at_ms": (1_767_225_600 + until * DAY) * 1000}


def test_what_only_the_store_has_is_counted(path, home):
    (home / ".claude/projects/-work-demo/s1.jsonl").unlink()
    claude_file(home, "s2", lines(prompt("z", 9, session="s2")))
    with Store.open(path) as store:
        run_ingest(store, [home])

    _, kept = doctor(path, home)

    assert kept == {"sessions": 1, "events": 4, "prompts": 4}
    text = CliRunner().invoke(app, ["doctor", "--store", str(path), "--home", str(home)]).stdout
    assert "4 events live only in the store: 1 sessions are in no file any more" in text

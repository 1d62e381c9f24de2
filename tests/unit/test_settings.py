"""`kaizen.toml`: what it may hold, and the error for everything else."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from kaizen_analytics.cli import times
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.usage import RESPONSES, compute_usage


def write(folder: Path, text: str) -> dict[str, str]:
    (folder / "kaizen.toml").write_text(text, encoding="utf-8")
    return {"KAIZEN_HOME": str(folder)}


def test_groups_are_folders_of_the_home_or_absolute(tmp_path: Path) -> None:
    environment = write(tmp_path, 'timezone = "Asia/Tokyo"\n[groups]\nshop = ["~/a", "/b"]\n')
    found = read_settings(environment, Path("/home/ada"))
    assert (found.timezone, dict(found.groups)) == ("Asia/Tokyo", {"shop": ("/home/ada/a", "/b")})


def test_the_repository_is_asked_before_the_person(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "src").mkdir()
    environment = write(
        tmp_path, 'timezone = "UTC"\nstore = "mine.db"\n[experiments]\nduration_days = 7\nalpha = 0.1\n'
    )
    write(repository, 'store = "team.db"\n[experiments]\nduration_days = 21\n')
    found = read_settings(environment, tmp_path, repository / "src")
    assert (found.timezone, found.store) == ("UTC", repository / "team.db")
    assert dict(found.experiments) == {"duration_days": 21, "alpha": 0.1}
    assert read_settings(environment, tmp_path).store == tmp_path / "mine.db"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timezne = 1", "Did you mean 'timezone'"),
        ("timezone = 1", "expected a name"),
        ("groups = 1", "expected a table of lists"),
        ("[groups]\na = []", "expected a list of folders"),
        ("[groups]\na = [1]", "expected a list of folders"),
        ("[groups", "is not TOML"),
        ("store = 1", "expected a path"),
        ("[experiments]\ndurations = 3", "Did you mean 'duration_days'"),
        ("[experiments]\nduration_days = true", "expected a number of days"),
    ],
)
def test_what_is_not_known_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(write(tmp_path, text), tmp_path)


def test_usage_by_group_counts_a_folder_and_those_below_it() -> None:
    places = ("/a", "/a/b", "/ab", "/c")
    rows = [dict.fromkeys(RESPONSES.schema) | {"session_id": "s", "ts_ms": 0, "workspace": place} for place in places]
    frame = pl.DataFrame(rows, schema=RESPONSES.schema)
    found = compute_usage(frame, ["group"], timezone="UTC", groups={"one": ["/a/"], "two": ["/c"]})
    assert found.select("group", "responses").rows() == [("one", 2), ("two", 1), (None, 1)]


def test_commands_take_the_option_then_the_file_then_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path))
    monkeypatch.setattr(times, "local_timezone", lambda: "America/New_York")
    assert times.choose_timezone(None) == "America/New_York"
    write(tmp_path, 'timezone = "Asia/Tokyo"')
    assert (times.choose_timezone(None), times.choose_timezone("UTC")) == ("Asia/Tokyo", "UTC")
    write(tmp_path, 'timezone = "Mars/Base"')
    with pytest.raises(ConfigError, match="no time zone 'Mars/Base'"):
        times.choose_timezone(None)

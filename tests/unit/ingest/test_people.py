"""Who ran a session: the cluster keys that transcripts lack, from git's own settings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kaizen_analytics.ingest.gitref import Places, _owner_of
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store


@pytest.mark.parametrize(
    ("remote", "owner"),
    [
        ("https://forge.example/Team/app.git", "forge.example/team"),
        ("https://user@forge.example:8443/team/app", "forge.example/team"),
        ("git@forge.example:team/app.git", "forge.example/team"),
        ("ssh://git@forge.example:22/team/sub/app.git", "forge.example/team"),
        ("/srv/git/app.git", None),
        ("../app.git", None),
        ("file:///srv/git/app.git", None),
        ("", None),
    ],
)
def test_the_owner_of_a_remote(remote: str, owner: str | None):
    assert _owner_of(remote) == owner


def make_repository(folder: Path, email: str) -> Path:
    folder.mkdir()
    for arguments in (
        ["init", "-q"],
        ["config", "user.email", email],
        ["remote", "add", "origin", "git@forge.example:team/app.git"],
    ):
        subprocess.run(["git", "-C", folder, *arguments], check=True)
    return folder


def write_session(home: Path, session: str, cwd: str) -> None:
    line = {
        "type": "user",
        "uuid": session,
        "sessionId": session,
        "cwd": cwd,
        "timestamp": "2026-09-07T08:00:00.000Z",
        "message": {"role": "user", "content": "hello"},
    }
    path = home / ".claude" / "projects" / "p" / f"{session}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")


def test_sessions_get_user_and_organisation_of_their_repository_and_keep_them(tmp_path: Path):
    repository = make_repository(tmp_path / "app", "ada@team.example")
    home = tmp_path / "home"
    write_session(home, "here", str(repository))
    write_session(home, "elsewhere", "/no/such/folder")

    with Store.open(tmp_path / "store.db", create=True) as store:
        run_ingest(store, [home], environment={})
        subprocess.run(["git", "-C", repository, "config", "user.email", "bob@team.example"], check=True)
        run_ingest(store, [home], environment={})
        noted = store.native("select session_id, user, organisation from ka_session_attributes")

    assert noted == [("here", "ada@team.example", "forge.example/team")]


def test_a_folder_that_is_no_repository_has_no_people(tmp_path: Path):
    places = Places()
    assert places.people_of(str(tmp_path)) == (None, None)
    assert places.people_of("relative") == (None, None)
    assert places.problems == set()

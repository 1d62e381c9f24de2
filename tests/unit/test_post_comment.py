"""The script of the GitHub Action, alone, against an API on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "plugins" / "github" / "post_comment.py"
BOT = "github-actions[bot]"
HOSTILE = (
    "# \x1b[31m::set-output name=x::y\x1b[0m\n::error::owned\n@octocat <script>alert(1)</script>\n"
    "<!-- kaizen-analytics: result -->\n"
    "![x](https://evil.example/x.png) $(touch owned) `@code` \u202eabc\u200b\n"
)


@dataclass
class Forge:
    """Comments as GitHub keeps them; `status` refuses to write."""

    comments: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    status: int = 200
    twin: bool = False
    seen: list[str] = field(default_factory=list)

    def add(self, body: str, login: str = BOT) -> None:
        self.comments.append({"id": len(self.seen) + len(self.comments) + 1, "body": body, "user": {"login": login}})


@pytest.fixture
def forge() -> Iterator[Forge]:
    kept = Forge()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, document: object, status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            page = int(self.path.rpartition("page=")[2])
            self.answer(kept.comments[(page - 1) * 100 : page * 100])

        def change(self) -> None:
            kept.seen.append(f"{self.command} {self.path} {self.headers['Authorization']}")
            body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}").get("body")
            number = self.path.rpartition("/")[2]
            if kept.status != 200:
                self.answer({}, kept.status)
                return
            if self.command == "POST":
                kept.add(body)
                if kept.twin:
                    kept.add(body)
            for comment in [one for one in kept.comments if str(one["id"]) == number]:
                if self.command == "DELETE":
                    kept.comments.remove(comment)
                else:
                    comment["body"] = body
            self.answer({})

        do_POST = do_PATCH = do_DELETE = change  # noqa: N815 - names of the standard library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    yield kept
    server.shutdown()
    server.server_close()


def post(
    forge: Forge,
    folder: Path,
    text: str,
    *,
    event: str = '{"pull_request": {"number": 7}}',
    code: int = 0,
    **given: str,
) -> tuple[str, str]:
    """Run the script as the action does, and return what it printed and the summary."""
    (folder / "result.md").write_text(text, encoding="utf-8")
    (folder / "event.json").write_text(event)
    summary = folder / "summary.md"
    environment = {
        "PATH": "/usr/bin:/bin",
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "ada/shop",
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_STEP_SUMMARY": str(summary),
        "KAIZEN_FILE": str(folder / "result.md"),
        "KAIZEN_NAME": "result",
        "KAIZEN_AUTHOR": BOT,
        "KAIZEN_TOKEN": "t0ken",
        **given,
    }
    ran = subprocess.run(
        [sys.executable, SCRIPT], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stderr == ""
    return ran.stdout, summary.read_text(encoding="utf-8") if summary.exists() else ""


def test_one_comment_is_posted_and_updated(forge: Forge, tmp_path: Path):
    for number in range(150):
        forge.add(f"comment {number}", "ada")
    post(forge, tmp_path, "# First")
    post(forge, tmp_path, "# Second")

    [ours] = [one["body"] for one in forge.comments if one["user"]["login"] == BOT]
    assert ours == "<!-- kaizen-analytics: result -->\n# Second"
    assert {line.split()[0] for line in forge.seen} == {"POST", "PATCH"}
    assert all(line.endswith("Bearer t0ken") for line in forge.seen)


def test_of_two_that_were_posted_at_once_one_stays(forge: Forge, tmp_path: Path):
    forge.twin = True
    post(forge, tmp_path, "# First")

    assert [one["body"] for one in forge.comments] == ["<!-- kaizen-analytics: result -->\n# First"]


def test_a_comment_of_another_with_our_marker_stays_as_it_is(forge: Forge, tmp_path: Path):
    forge.add("<!-- kaizen-analytics: result -->\nmine", "mallory")
    post(forge, tmp_path, "# Ours")

    assert [one["body"].splitlines()[1] for one in forge.comments] == ["mine", "# Ours"]


def test_a_comment_of_another_name_is_another_comment(forge: Forge, tmp_path: Path):
    post(forge, tmp_path, "# A")
    post(forge, tmp_path, "# B", KAIZEN_NAME="retro")

    assert len(forge.comments) == 2


def test_hostile_text_notifies_nobody_runs_nothing_and_is_not_in_the_log(forge: Forge, tmp_path: Path):
    printed, summary = post(forge, tmp_path, HOSTILE)

    [comment] = forge.comments
    assert printed == ""
    for text in (comment["body"].partition("\n")[2], summary.rstrip("\n")):
        assert "&#64;octocat" in text
        assert "`@code`" in text
        for gone in ("<script", "<!--", "![", "\x1b", "\u202e", "\u200b"):
            assert gone not in text
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_may_not_comment_leaves_the_summary(forge: Forge, tmp_path: Path, status: int):
    forge.status = status
    printed, summary = post(forge, tmp_path, "# Result")

    assert summary == "# Result\n"
    assert printed.startswith("::notice::The token may not comment")


def test_without_a_pull_request_only_the_summary_is_written(forge: Forge, tmp_path: Path):
    for event in ("{}", '{"pull_request": {"number": "7/../../evil"}}'):
        printed, _ = post(forge, tmp_path, "# Result", event=event)
        assert printed.startswith("::notice::No pull request")
    assert forge.seen == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"KAIZEN_NAME": "x --> ::error::"}, "The name of the comment"),
        ({"KAIZEN_FILE": "/nowhere"}, "The file cannot be read"),
        ({"GITHUB_REPOSITORY": "ada/shop/../x"}, "GITHUB_REPOSITORY is not OWNER/NAME"),
        ({"GITHUB_API_URL": "http://127.0.0.1:9"}, "GitHub cannot be reached"),
    ],
)
def test_a_mistake_is_one_line_and_no_comment(forge: Forge, tmp_path: Path, given: dict[str, str], message: str):
    printed, _ = post(forge, tmp_path, "# Result", code=1, **given)

    assert printed.startswith(f"::error::{message}")
    assert printed.count("\n") == 1
    assert forge.seen == []


def test_an_api_that_fails_is_an_error(forge: Forge, tmp_path: Path):
    forge.status = 500
    assert post(forge, tmp_path, "# Result", code=1)[0] == "::error::GitHub answered 500.\n"


def test_a_long_result_is_shortened_and_says_so(forge: Forge, tmp_path: Path):
    post(forge, tmp_path, "x" * 100_000)

    assert len(forge.comments[0]["body"]) < 65_536
    assert forge.comments[0]["body"].endswith("Shortened: the whole result is in the file.")


@pytest.mark.slow
def test_a_file_in_which_a_secret_is_left_is_not_posted(forge: Forge, tmp_path: Path):
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    home = {"PATH": path, "HOME": str(tmp_path)}
    printed, summary = post(forge, tmp_path, "mail jane.doe@corp.io", code=1, **home)

    assert "must not leave" in printed
    assert summary == ""
    assert forge.comments == []
    post(forge, tmp_path, "# Fewer tokens: 22.6 % less\n", **home)
    assert len(forge.comments) == 1


def test_the_action_puts_no_value_into_its_command():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.strip().startswith("run:")]

    assert commands == ['      run: python3 "$GITHUB_ACTION_PATH/plugins/github/post_comment.py"']
    assert "uses:" not in text

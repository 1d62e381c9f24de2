"""Messages about reports, to servers of this machine that succeed, refuse, fail and stall."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.reports.runner import Runner
from kaizen_analytics.reports.schedules import (
    _WAITS_S,
    Outcome,
    check_urls,
    find_due,
    load_schedules,
    make_slots,
    notify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 10, 5, 6, 30, tzinfo=UTC)
SECRET = "jane.doe@corp.io"


class Hook(ThreadingHTTPServer):
    """A web hook that answers with the given states, one for each message, and then with the last one."""

    def __init__(self, *states: int, stall_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.states, self.stall_s = [*states], stall_s
        self.bodies: list[str] = []

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_port}"


class _Post(BaseHTTPRequestHandler):
    server: Hook

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.bodies.append(body)
        time.sleep(self.server.stall_s)
        status = self.server.states.pop(0) if len(self.server.states) > 1 else self.server.states[0]
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


class _Mail(StreamRequestHandler):
    """The least of SMTP: every mail is taken."""

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        in_data = False
        for line in self.rfile:
            if in_data:
                self.server.lines.append(line.decode())
                if line != b".\r\n":
                    continue
            word = line[:4].upper()
            in_data = word == b"DATA" and not in_data
            self.wfile.write(b"354 go on\r\n" if in_data else b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


def serve(server: ThreadingTCPServer) -> Iterator[ThreadingTCPServer]:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def start() -> Iterator[Callable[..., Hook]]:
    running: list[Iterator[ThreadingTCPServer]] = []

    def begin(*states: int, **options: float) -> Hook:
        running.append(serve(Hook(*states, **options)))
        return next(running[-1])

    yield begin
    for server in running:
        next(server, None)


@pytest.fixture
def schedule(write_notebook, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the schedule of a report."""

    def write(cell: str = f"print('{SECRET}')", *, share: bool = False) -> Path:
        text = f'[weekly]\nreport = "{write_notebook(cell)}"\ncron = "0 6 * * 1"\nshare = {str(share).lower()}\n'
        (tmp_path / "reports.toml").write_text(f'{text}formats = ["md"]\n')
        return tmp_path / "reports.toml"

    return write


def make(schedules: Path) -> list[Outcome]:
    out = schedules.parent / "reports"
    slots = find_due(load_schedules(schedules), out, NOW)
    return make_slots(slots, out, lambda requests: enumerate(map(Runner().run, requests)))


def told(outcomes: list[Outcome], *urls: str) -> list[str]:
    return list(notify(outcomes, urls, wait=lambda _: None))


@pytest.mark.usefixtures("without_kernel")
def test_each_place_is_told_once_without_content_and_a_refusal_is_said(
    schedule: Callable[..., Path], start: Callable[..., Hook]
):
    shaky, refusing, outcomes = start(503, 200), start(403), make(schedule(f"raise ValueError('{SECRET}')"))

    problems = told(outcomes, shaky.url, refusing.url)
    assert [json.loads(body)["title"] for body in shaky.bodies] == ["weekly: not made"] * 2
    assert SECRET not in "".join(shaky.bodies)
    assert len(refusing.bodies) == len(_WAITS_S)
    assert problems == ["A message about weekly could not be sent; the report is not affected."]
    assert told(outcomes, shaky.url, refusing.url) == []
    assert (len(shaky.bodies), len(refusing.bodies)) == (2, len(_WAITS_S))


@pytest.mark.usefixtures("without_kernel")
def test_a_shared_run_sends_its_beginning_redacted_by_mail_too(
    schedule: Callable[..., Path], start: Callable[..., Hook]
):
    mail = ThreadingTCPServer(("127.0.0.1", 0), _Mail)
    mail.lines = []
    running = serve(mail)
    next(running)
    url = f"mailto://127.0.0.1:{mail.server_address[1]}?from=kaizen@example.org&to=team@example.org&mode=insecure"
    cell = f"from kaizen_analytics.reports.sharing import protect\nprint(protect('mail {SECRET}'))"
    hook, outcomes = start(200), make(schedule(cell, share=True))

    assert told(outcomes, hook.url, url) == []
    next(running, None)
    message = json.loads(hook.bodies[0])["message"]
    assert message.startswith("mail <R:em:")
    assert message.endswith(">\n\nThe report for 2026-10-05 06:00 UTC was made.")
    assert "weekly: made" in "".join(mail.lines)
    assert SECRET not in "".join(mail.lines)


@pytest.mark.long
def test_a_process_that_is_killed_while_it_sends_leaves_at_most_one_message(
    schedule: Callable[..., Path], start: Callable[..., Hook], tmp_path: Path, program: Callable[..., Any]
):
    hook = start(200, stall_s=30)
    command = ["report", "due", "--schedules", str(schedule()), "--out", str(tmp_path / "out")]
    command += ["--now", "2026-10-05T06:30:00Z", "--notify", hook.url]
    process = subprocess.Popen([sys.executable, "-m", "kaizen_analytics", *command], stdout=subprocess.DEVNULL)
    while not hook.bodies and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    again = program(*command)
    assert again.code == 0
    assert "Nothing is due." in again.out
    assert len(hook.bodies) == 1


def test_a_url_of_no_service_is_refused_without_repeating_it():
    with pytest.raises(ConfigError, match="--notify number 2 names no service") as refused:
        check_urls(["json://127.0.0.1:9", "nothing://user:hunter2@host"])
    assert "hunter2" not in str(refused.value)


def test_without_the_extra_the_option_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    check_urls([])
    with pytest.raises(ConfigError, match=r"pip install 'kaizen_analytics\[notify\]'"):
        check_urls(["json://127.0.0.1:9"])

"""What an agent runs when a session starts: draw the session's arm, record it, and answer with the arm's text.

This module ends with exit code 0 whatever happens, and after `_BUDGET_S` at the latest: an experiment must never
disturb the agent. A session whose draw could not be recorded gets no text and takes no part; the report counts it.

It imports only what the interpreter starts with or has built in. `json`, `hashlib`, `pathlib`, `threading` and `typing`
would take three times as long to import as everything else that happens here.

`exp start` publishes a running experiment as one file in `$KAIZEN_HOME/assignments/`, which names its spool: a file
beside the store to which a hook appends one line per session. The first line of a session decides, for ever: a resumed
session reads its arm from there. Later commands fold the spool into the store.
"""

from __future__ import annotations

import _thread
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    StrPath = str | os.PathLike[str]


class _Grammar:
    """JSON as `json` reads it."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_int, parse_float, parse_constant = int, float, float


try:
    from _blake2 import blake2b
    from _json import encode_basestring_ascii as _quote
    from _json import make_scanner

    _scan: Callable[[str, int], tuple[Any, int]] = make_scanner(_Grammar)  # type: ignore[arg-type]
except (ImportError, AttributeError):  # these modules are private to CPython; other interpreters have the public ones
    from hashlib import blake2b
    from json import JSONDecoder
    from json.encoder import encode_basestring_ascii as _quote

    _scan = JSONDecoder().raw_decode

_BUDGET_S = 0.12
"""The hook ends after this time, answer or not."""
_PART_SIZE = 9_500
"""Characters (UTF-16 units) of one answer that Claude Code passes on whole; above 10,000 it shows a preview only."""

CONTROL, TREATMENT = "Control", "Treatment"
_FRESH = ("startup", "clear")
"""Sources of a session that holds no earlier conversation."""
_LATE = "beforeSubmitPrompt"
"""Where Cursor calls at each prompt; it takes no text there. Builds that do not call at a session's start call here."""
_LATE_S = 0.05
"""What a hook at a prompt leaves to that of the session's start, which Cursor does not wait for."""


def draw(seed: str, experiment_id: str, unit_id: str, control_share: float) -> str:
    """Return the arm of a unit: a keyed hash of the experiment and the unit, compared with the control arm's share.

    Args:
        seed: The experiment's seed, as hexadecimal digits; the key of the hash.
        experiment_id: The experiment.
        unit_id: What is drawn, such as a session's id.
        control_share: The share of units in the control arm, between 0 and 1.

    >>> [draw("00" * 16, "e1", unit, 0.5) for unit in ("s1", "s2", "s3", "s4")]
    ['Control', 'Treatment', 'Treatment', 'Treatment']
    """
    message = f"{experiment_id}\0{unit_id}".encode()
    digest = blake2b(message, key=bytes.fromhex(seed), digest_size=8).digest()
    return CONTROL if int.from_bytes(digest, "big") < control_share * 2**64 else TREATMENT


def split_text(text: str, size: int | None = _PART_SIZE) -> list[str]:
    r"""Return a text in parts of at most `size` UTF-16 units; joined they are the text. None: one part of any size.

    A part ends at the end of a line where there is one in its second half.

    >>> split_text("one\ntwo\n", 5)
    ['one\n', 'two\n']
    """
    parts = []
    while size is not None and _count_units(text) > size:
        end = _cut(text, size)
        parts.append(text[:end])
        text = text[end:]
    return [*parts, text] if text else parts


def _count_units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _cut(text: str, size: int) -> int:
    """Return how many characters of a text that is too long make one part."""
    end = units = 0
    for character in text:
        units += 2 if character > "\uffff" else 1
        if units > size:
            break
        end += 1
    line = text.rfind("\n", end // 2, end) + 1
    return line or end


def assignments_folder(environment: Mapping[str, str]) -> str:
    """Return the folder that holds one file for each running experiment.

    >>> assignments_folder({"KAIZEN_HOME": "/k"})
    '/k/assignments'
    """
    home = environment.get("KAIZEN_HOME") or os.path.join("~", ".kaizen")
    return os.path.join(os.path.expanduser(home), "assignments")


def _read_assignments(folder: StrPath, cwd: str) -> list[dict[str, Any]]:
    """Return the running experiments whose workspaces hold the folder `cwd`, in the order of their ids."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    found = [_load(_read_file(os.path.join(folder, name))) for name in names]
    places = {cwd, os.path.realpath(cwd)}
    return [item for item in found if any(_covers(item["workspaces"], place) for place in places)]


def _covers(workspaces: list[str], place: str) -> bool:
    return not workspaces or any(place == root or place.startswith(root.rstrip("/\\") + os.sep) for root in workspaces)


def _read_file(path: StrPath) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read_spool(path: StrPath) -> bytes:
    try:
        return _read_file(path)
    except FileNotFoundError:
        return b""


def _load(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return what a JSON text holds, as `json.loads` does.

    Raises:
        ValueError: it is not JSON.
    """
    blank, text = " \t\r\n", data.removeprefix(b"\xef\xbb\xbf").decode()
    text = text.strip(blank)
    try:
        value, end = _scan(text, 0)
    except (StopIteration, SystemError) as error:  # SystemError: CPython's scanner, where `json` is not imported
        raise ValueError(f"no JSON: {error}") from None
    if end != len(text):
        raise ValueError(f"more than JSON at character {end}")
    return value


def _render_flat(record: Mapping[str, str | int | None]) -> str:
    """Return an object of texts, whole numbers and nulls as JSON."""
    values = {
        name: "null" if value is None else str(value) if isinstance(value, int) else _quote(value)
        for name, value in record.items()
    }
    return f"{{{', '.join(f'{_quote(name)}: {value}' for name, value in values.items())}}}"


def find_record(spool: bytes, experiment_id: str, key: str, value: str, *, last: bool = False) -> dict[str, Any] | None:
    """Return the first (or last) line of a spool with this value of `session` or `pid`, or None.

    >>> line = b'{"experiment": "e1", "session": "s1", "arm": "Control", "at_ms": 0}'
    >>> find_record(line, "e1", "session", "s1")["arm"]
    'Control'
    """
    needle = f"{_quote(key)}: {_quote(value)}".encode()
    if needle not in spool:
        return None
    matches = [record for line in spool.split(b"\n") if needle in line and (record := parse_record(line)) is not None]
    chosen = [record for record in matches if record["experiment"] == experiment_id and record.get(key) == value]
    return chosen[-1 if last else 0] if chosen else None


def parse_record(line: bytes) -> dict[str, Any] | None:
    """Return one line of a spool, or None when it is no whole record: a write that a full disk cut off.

    >>> parse_record(b'{"experiment": "e1", "sess') is None
    True
    """
    try:
        record = _load(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or b"\\u0000" in line:
        return None
    whole = all(isinstance(record.get(name), str) for name in ("experiment", "session"))
    whole = whole and all(isinstance(record.get(name), str | None) for name in ("unit", "reason", "pid", "door"))
    known = record.get("arm") in (None, CONTROL, TREATMENT) and type(record.get("at_ms")) is int
    return record if whole and known else None


def append_record(spool: StrPath, record: dict[str, Any]) -> None:
    r"""Append one line to a spool and wait until the disk has it.

    The line begins with a line break too, so that it stands alone after a line that was cut off.

    Raises:
        OSError: the line could not be written whole.

    >>> append_record(tmp / "spool", {"experiment": "e1", "session": "s1"})
    >>> (tmp / "spool").read_text()
    '\n{"experiment": "e1", "session": "s1"}\n'
    """
    line = f"\n{_render_flat(record)}\n".encode()
    descriptor = os.open(spool, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        written = os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if written != len(line):
        raise OSError(f"{spool}: wrote {written} of {len(line)} bytes")


def _make_record(
    assignment: dict[str, Any], request: dict[str, Any], *, environment: dict[str, str], spool: bytes, now_ms: int
) -> dict[str, Any]:
    """Return the line that decides a session's arm: `arm` is null where it takes no part, and `reason` says why."""
    record = {
        "experiment": assignment["experiment"],
        "session": request["session_id"],
        "unit": None,
        "arm": None,
        "reason": None,
        "pid": environment.get("CLAUDE_PID"),
        "door": request.get("door"),
        "at_ms": now_ms,
    }
    unit, reason = _find_unit(assignment, request, environment, spool, now_ms)
    if reason is not None or unit is None:
        return {**record, "reason": reason}
    arm = draw(assignment["seed"], assignment["experiment"], unit, assignment["control_share"])
    if _is_launched(assignment, environment) and environment.get("KAIZEN_ARM") != arm:
        return {**record, "unit": unit, "reason": "launched_otherwise"}
    return {**record, "unit": unit, "arm": arm}


def _is_launched(assignment: dict[str, Any], environment: dict[str, str]) -> bool:
    return bool(environment.get("KAIZEN_EXPERIMENT") == assignment["experiment"])


def _find_unit(
    assignment: dict[str, Any], request: dict[str, Any], environment: dict[str, str], spool: bytes, now_ms: int
) -> tuple[str | None, str | None]:
    """Return the unit that a new session belongs to, or why it takes no part."""
    source, pid = request.get("source") or "startup", environment.get("CLAUDE_PID")
    if source == "clear" and pid:
        before = find_record(spool, assignment["experiment"], "pid", pid, last=True)
        if before is not None:
            return before["unit"], before["reason"]
    if source not in _FRESH:
        return None, "first_start_unseen"
    if _is_launched(assignment, environment):
        return environment.get("KAIZEN_UNIT"), None
    if assignment["needs_launch"]:
        return None, "not_launched"
    unit = find_unit(assignment["unit"], request["session_id"], request["cwd"], environment, now_ms)
    return unit, None if unit else "no_unit"


def find_unit(kind: str, session_id: str, cwd: str, environment: dict[str, str], now_ms: int) -> str | None:
    """Return the unit of a session that starts now, or None on no branch: a detached commit, or no repository.

    The kinds are `session`, `day` (UTC), `branch` and `user` (the login name).

    >>> find_unit("day", "s1", "/repo", {}, 1_800_000_000_000)
    '2027-01-15'
    """
    if kind == "session":
        return session_id
    if kind == "day":
        return time.strftime("%Y-%m-%d", time.gmtime(now_ms / 1000))
    if kind == "branch":
        return _read_branch(cwd)
    return environment.get("LOGNAME") or environment.get("USER") or environment.get("USERNAME")


def _read_branch(folder: str) -> str | None:
    """Return the branch that is checked out in a folder, without git: HEAD names it."""
    git = os.path.join(folder, ".git")
    if os.path.isfile(git):  # a linked worktree, or a submodule
        git = os.path.join(folder, _read_file(git).decode().partition("gitdir:")[2].strip())
    if os.path.isdir(git):
        kind, _, name = _read_file(os.path.join(git, "HEAD")).decode().strip().partition(": refs/heads/")
        return name if kind == "ref" and name else None
    above = os.path.dirname(folder)
    return None if above == folder else _read_branch(above)


def _answer(
    request: dict[str, Any], *, environment: dict[str, str], folder: StrPath, parts: int | None, now_ms: int
) -> list[str]:
    """Draw and record a session's arms, and return the texts of all parts in order; empty where there is no text.

    The agent's settings ask for `parts` answers of `_PART_SIZE`; None: one, of any size.

    Raises:
        OSError: a file cannot be read, or the draw cannot be recorded.
        ValueError: a file is not JSON.
    """
    texts: list[str] = []
    asked = 0
    for assignment in _read_assignments(folder, request["cwd"]):
        size = None if parts is None else _PART_SIZE
        split = {arm: split_text(body.get("text") or "", size) for arm, body in assignment["arms"].items()}
        asked += max(map(len, split.values()), default=0)  # of both arms, so that what is left out is left out of both
        fits = parts is None or asked <= parts
        record = _settle(assignment, request, environment, now_ms, fits=fits)
        is_ours = record is not None and record.get("door") == request.get("door")
        texts += split.get(record["arm"], []) if record and is_ours and fits else []
    return texts


def _settle(
    assignment: dict[str, Any], request: dict[str, Any], environment: dict[str, str], now_ms: int, *, fits: bool
) -> dict[str, Any] | None:
    """Return the line that decides this session, recorded now if there was none; None where it takes no part.

    Several hooks of one session run at once. Each appends its line if it sees none, and all obey the first. Where both
    the settings and a plugin call the hook, the door that wrote the first line answers with the text.
    """
    spool, key = assignment["spool"], (assignment["experiment"], "session", request["session_id"])
    known = _read_spool(spool)
    record = find_record(known, *key)
    if record is None and request.get("source") == _LATE:
        time.sleep(_LATE_S)
        known = _read_spool(spool)
        record = find_record(known, *key)
    begins = assignment["window_start_ms"] <= now_ms <= assignment["window_end_ms"]
    if record is not None or request.get("hook_event_name") == "SubagentStart" or not begins:
        return record
    made = _make_record(assignment, request, environment=environment, spool=known, now_ms=now_ms)
    if not fits:
        made = {**made, "arm": None, "reason": "text_too_long"}
    append_record(spool, made)
    return find_record(_read_spool(spool), *key)


def parse_options(arguments: list[str]) -> dict[str, str]:
    """Return the options that `hooks install` or a plugin wrote: --agent, --part K/N, --home PATH, --door plugin.

    >>> parse_options(["--agent", "codex", "--ingest"])
    {'agent': 'codex'}
    """
    return {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=False)}


def read_request(agent: str, door: str | None) -> dict[str, Any] | None:
    """Return what the agent passed on standard input, under the names of Claude Code; None: another hook is meant.

    Raises:
        ValueError: it is not JSON.
        LookupError: it names no session.

    >>> read_request("codex", None)  # doctest: +SKIP
    {'session_id': '0199', 'cwd': '/repo', 'hook_event_name': 'SessionEnd', 'door': None}
    """
    request: dict[str, Any] = _load(sys.stdin.buffer.read())
    if agent == "cursor":
        roots = request.get("workspace_roots") or [request.get("cwd") or os.getcwd()]
        request |= {"session_id": request["conversation_id"], "cwd": roots[0]}
        if request.get("hook_event_name") == _LATE:
            request["source"] = _LATE
    elif "cursor_version" in request:  # Cursor runs the hooks of Claude Code too; it has one of its own
        return None
    return request | {"door": door}


def _render(agent: str, event: str, text: str) -> str:
    if agent == "cursor":
        return _render_flat({"additional_context": text})
    return f'{{"hookSpecificOutput": {_render_flat({"hookEventName": event, "additionalContext": text})}}}'


def _run(arguments: list[str]) -> None:
    options = parse_options(arguments)
    agent = options.get("agent", "claude_code")
    number, _, count = options.get("part", "").partition("/")
    environment = dict(os.environ) | ({"KAIZEN_HOME": options["home"]} if "home" in options else {})
    request = read_request(agent, options.get("door"))
    if request is None:
        return
    texts = _answer(
        request,
        environment=environment,
        folder=assignments_folder(environment),
        parts=int(count) if count else None,
        now_ms=time.time_ns() // 1_000_000,
    )
    event, index = request.get("hook_event_name", "SessionStart"), int(number or 1) - 1
    # Codex keeps the text in a session's history and would show it twice.
    is_held = agent == "codex" and request.get("source") == "resume"
    if event == _LATE:
        sys.stdout.write('{"continue": true}\n')
    elif index < len(texts) and not is_held:
        heading = f"Part {index + 1} of {len(texts)}:\n" if count and len(texts) > 1 else ""
        text = heading + texts[index] if count else "\n\n".join(texts)
        sys.stdout.write(_render(agent, event, text) + "\n")


def _end_in_time() -> None:
    time.sleep(_BUDGET_S)
    os._exit(0)


def main(arguments: list[str]) -> None:
    """Answer one call of an agent and end the process with exit code 0, after `_BUDGET_S` at the latest.

    >>> main(["--agent", "codex"])  # doctest: +SKIP
    """
    # A thread, because Python does not handle a signal while one call reads a file that never ends.
    _thread.start_new_thread(_end_in_time, ())
    try:
        _run(arguments)
        sys.stdout.flush()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.stderr.write(f"kaizen-analytics hook: {error!r}; this session takes no part in experiments\n")
    finally:
        os._exit(0)

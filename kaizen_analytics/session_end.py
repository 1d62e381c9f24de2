"""What an agent runs when a session ends: start an `ingest` that outlives the agent, unless one is running.

The new process holds a lock on its log, and the system frees it however the process ends. `main` returns at once and
ends with exit code 0 whatever happens.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.hook import assignments_folder, parse_options, read_request

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUDGET_S = 2.0


def main(arguments: list[str]) -> None:
    """Answer one call of an agent and end the process with exit code 0, after `_BUDGET_S` at the latest.

    >>> main(["--agent", "codex", "--ingest"])  # doctest: +SKIP
    """
    timer = threading.Timer(_BUDGET_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
    try:
        options = parse_options(arguments)
        request = read_request(options.get("agent", "claude_code"), None)
        if request is not None:
            environment = dict(os.environ) | ({"KAIZEN_HOME": options["home"]} if "home" in options else {})
            _start_ingest(Path(request["cwd"]), environment)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        sys.stderr.write(f"kaizen-analytics hook: {error!r}; no ingest was started\n")
    finally:
        os._exit(0)


def _start_ingest(folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start `ingest` in a session's folder and return the process, or None where one runs for the same store.

    Args:
        folder: Where the session ran; where it is gone, the nearest folder above it counts.

    Raises:
        OSError: the log cannot be written, or the process cannot be started.
    """
    folder = next(place for place in (folder, *folder.parents) if place.is_dir())
    store = environment.get("KAIZEN_STORE") or str(_find_repository(folder))
    log = Path(assignments_folder(environment)).parent / "hooks"
    log.mkdir(parents=True, exist_ok=True)
    log /= f"ingest-{hashlib.sha256(store.encode()).hexdigest()[:16]}.log"
    if sys.platform == "win32":
        log.unlink(missing_ok=True)  # fails while a process has it open
    log.touch(0o600)
    with log.open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the new process inherits it with the open file
            except BlockingIOError:
                return None
        file.truncate(0)
        # By its path and without the session's folder on the module path, whatever lies in it.
        command = [sys.executable, "-P", str(Path(__file__).with_name("__main__.py")), "ingest"]
        return subprocess.Popen(  # noqa: S603 - this program itself
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            creationflags=0x208 if sys.platform == "win32" else 0,  # detached, in a process group of its own
        )


def _find_repository(folder: Path) -> Path:
    """Return the repository around a folder, the same for all its worktrees; the folder where there is none."""
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), folder)
    git = root / ".git"
    if git.is_file():
        git = (root / git.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).resolve()
    return git.parent.parent.parent if git.parent.name == "worktrees" else root.resolve()

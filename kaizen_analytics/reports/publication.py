"""Runs of reports that appear whole or not at all: their folder is filled apart, then renamed into place.

A folder of reports looks like this; everything that begins with a dot is work in progress:

    <out>/<report>/<subject>/<run-id>/report.html, report.md, report.json, run.json
    <out>/<report>/<subject>/latest -> <run-id>
    <out>/<report>/<subject>/_failed/<run-id>/run.json, report.ipynb
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import ReportError
from kaizen_analytics.core.files import open_folder

if TYPE_CHECKING:
    from pathlib import Path

_LATEST = "latest"
FAILED = "_failed"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"
_STAGING = ".staging-"
_READABLE = 48


class OutputError(ReportError):
    """The folder of reports cannot be written: full, read-only, or not a folder."""

    exit_code = 74


def slug(text: str) -> str:
    """Return a folder name for `text`: itself if it is a plain name, else its readable part and a hash.

    The result never leaves its parent folder, never begins with a dot or an underscore and never collides for
    two different texts (short of a collision of SHA-256).

    >>> slug("exp-1"), slug("../etc")[:4]
    ('exp-1', 'etc-')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:_READABLE]
    if plain and plain == text and plain != _LATEST:
        return plain
    return f"{plain or 'subject'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def make_staging(output: Path, run_id: str) -> Path:
    """Create and return the private folder in which a run gathers its files, beside where they will be published.

    >>> make_staging(tmp, "run-1").name
    '.staging-run-1'
    """
    name = f"{_STAGING}{run_id}"
    with open_folder(output) as folder:
        folder.make_folder(name)
    return output / name


def find_staging(output: Path) -> list[Path]:
    """Return the staging folders in `output`; while its lock is held, all of them are left over from dead runs.

    >>> make_staging(tmp, "run-1") in find_staging(tmp)
    True
    """
    return sorted(path for path in output.glob(f"{_STAGING}*") if path.is_dir() and not path.is_symlink())


def publish(staging: Path, run_id: str) -> Path:
    """Turn a staging folder into the run `run_id`, point `latest` to it and return its new path.

    >>> publish(make_staging(tmp, "run-1"), "run-1").name, resolve_latest(tmp).name
    ('run-1', 'run-1')
    """
    link = f".{_LATEST}-{run_id}"
    with open_folder(staging.parent) as folder:
        folder.move(staging.name, run_id)
        folder.sync()
        with contextlib.suppress(FileNotFoundError):
            folder.remove(link)
        folder.point(link, run_id)
        folder.move(link, _LATEST)
        folder.sync()
    return staging.parent / run_id


def set_aside(staging: Path, run_id: str) -> Path:
    """Move a staging folder to the failed runs and return its new path.

    >>> set_aside(make_staging(tmp, "run-1"), "run-1").parent.name
    '_failed'
    """
    failed = staging.parent / FAILED
    with open_folder(staging.parent) as folder:
        with contextlib.suppress(FileExistsError):
            folder.make_folder(FAILED)
        with open_folder(failed) as put_away:
            folder.move(staging.name, run_id, put_away)
            put_away.sync()
    return failed / run_id


def clear(folder: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Delete what lies in `folder`, except the names in `keep`.

    >>> _ = [(tmp / name).write_text("") for name in ("run.json", "page.html")]
    >>> clear(tmp, keep=frozenset({"run.json"}))
    >>> [path.name for path in tmp.iterdir()]
    ['run.json']
    """
    with open_folder(folder) as opened:
        for name in sorted({*opened.names()} - keep):
            opened.remove(name)


def resolve_latest(output: Path) -> Path | None:
    """Return the folder of the last successful run, or None.

    >>> resolve_latest(tmp)  # nothing is published yet
    """
    latest = output / _LATEST
    return latest.resolve() if latest.is_symlink() and latest.is_dir() else None


def describe_failure(error: OSError) -> str:
    """Return an error of the operating system in words, with the usual remedy.

    >>> describe_failure(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device; free some space and run again'
    """
    remedies = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of your quota",
        errno.EROFS: "choose a folder that can be written (--out)",
        errno.EACCES: "choose a folder that can be written (--out)",
        errno.ENOTDIR: "choose a folder (--out)",
    }
    remedy = remedies.get(error.errno or 0)
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}{f'; {remedy} and run again' if remedy else ''}"

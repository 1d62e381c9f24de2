"""What this machine and its repositories say about their owner, and the key of its pseudonyms."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.redact.identities import KnownIdentities, identities_of_machine, parse_git_settings
from kaizen_analytics.redact.pseudonyms import Pseudonyms, load_key
from kaizen_analytics.redact.redactor import Redactor
from kaizen_analytics.redact.scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY_FILE = "pseudonyms.key"


def find_key() -> Path:
    """Return where the key of this account's pseudonyms lies, or will lie."""
    return Path(os.environ.get("KAIZEN_HOME") or Path.home() / ".kaizen").expanduser() / KEY_FILE


def collect_identities(folders: Iterable[Path]) -> KnownIdentities:
    """Return the identities of this account and machine, and of the repositories around `folders`."""
    repositories = {found for folder in folders if (found := _find_settings(folder)) is not None}
    home = Path.home()
    of_account = _read_settings([home / ".config" / "git" / "config", home / ".gitconfig"])
    words = dict(identities_of_machine(os.environ, socket.gethostname(), of_account).words)
    for file in sorted(repositories):
        of_repository = {**of_account, **_read_settings([file])}
        words |= identities_of_machine(os.environ, "", of_repository).words
    return KnownIdentities(tuple(words.items()))


def open_redactor(known: KnownIdentities, key: bytes | None = None) -> Redactor:
    """Return a redactor that knows `known`, under the key of this account's pseudonyms unless another is given.

    Raises:
        RedactionError: the key cannot be read or made.
    """
    return Redactor(Scanner(known), Pseudonyms(load_key(find_key()) if key is None else key))


def _find_settings(folder: Path) -> Path | None:
    candidates = (parent / ".git" / "config" for parent in (folder, *folder.parents))
    return next((file for file in candidates if file.is_file()), None)


def _read_settings(files: Iterable[Path]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for file in files:
        if file.is_file() and os.access(file, os.R_OK):
            settings |= parse_git_settings(file.read_text("utf-8", "replace"))
    return settings

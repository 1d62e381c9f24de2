"""People, machines and organisations: which are known beforehand, and what stable names they get.

Equal values get equal pseudonyms, and there is no way back. The key is a 32-byte salt in a file that only its owner may
read. Machines that share a lake share one lake key, so that the same workspace looks the same from each of them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.redact.spans import Category
from kaizen_analytics.redact.values import HOST_WORDS, PUBLIC_ORGANISATIONS, ROLE_ACCOUNTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


KEY_BYTES = 32
_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise RedactionError(f"The pseudonym key has {len(self.key)} bytes; expected {KEY_BYTES}.")

    def name(self, kind: str, value: bytes, *, digits: int = _DIGITS) -> str:
        """Return hex digits for `value`, ten or as many; case does not matter, and kinds do not share pseudonyms."""
        message = kind.encode() + b"\0" + value.decode("utf-8", "replace").casefold().encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:digits]

    def exact(self, value: bytes, *, digits: int = _DIGITS) -> str:
        """Return hex digits for exactly these bytes: another case is another value."""
        return hmac.new(self.key, b"exact\0" + value, hashlib.sha256).hexdigest()[:digits]


def load_key(path: Path) -> bytes:
    """Read the 32-byte key in `path`, making it (mode 0600) where none exists.

    Raises:
        RedactionError: the file is not a regular file of 32 bytes, others may read it, or it cannot be made or read.

    >>> load_key(tmp / "a.key") == load_key(tmp / "a.key")
    True
    """
    try:
        return _create(path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise RedactionError(
            f"{path} cannot hold the pseudonym key: {error.strerror}. Name a writable file, or set KAIZEN_HOME.",
        ) from error


def _create(path: Path) -> bytes:
    """Write a new key; two processes that start at once agree on the one that was linked first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() or path.is_symlink():
        raise FileExistsError(path)
    key = os.urandom(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    return key


def _read(path: Path) -> bytes:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise RedactionError(f"{path} is no regular file; expected the {KEY_BYTES}-byte pseudonym key. Move it away.")
    if os.name == "posix" and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise RedactionError(f"{path} has mode {mode:o}, so others may read the pseudonym key. Run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise RedactionError(f"{path} holds {len(key)} bytes; expected a key of {KEY_BYTES}. Restore it from a backup.")
    return key


@dataclass(frozen=True, slots=True)
class KnownIdentities:
    """Words that are identities on this machine, whatever stands around them, and what each is."""

    words: tuple[tuple[bytes, Category], ...] = ()

    @classmethod
    def collect(
        cls,
        *,
        users: Iterable[str] = (),
        names: Iterable[str] = (),
        hosts: Iterable[str] = (),
        emails: Iterable[str] = (),
        organisations: Iterable[str] = (),
    ) -> KnownIdentities:
        """Keep what is distinctive enough to search for: three bytes or more, no role account, no public name."""
        groups = (
            (emails, Category.EMAIL),
            (names, Category.NAME),
            (hosts, Category.HOST),
            (organisations, Category.ORGANISATION),
            (users, Category.USER),
        )
        kept: dict[bytes, Category] = {}
        for values, category in groups:
            for value in values:
                word = value.strip().lower().encode("utf-8", "replace")
                if len(word) >= 3 and word not in ROLE_ACCOUNTS | PUBLIC_ORGANISATIONS | HOST_WORDS:
                    kept.setdefault(word, category)
        return cls(tuple(kept.items()))


_REMOTE_OWNER = re.compile(r"[:/](?P<owner>[\w.-]+)/[\w.-]+?(?:\.git)?/?$")


def identities_of_machine(
    environment: Mapping[str, str],
    host: str,
    git_settings: Mapping[str, str],
) -> KnownIdentities:
    """Return the identities of this account, machine and repository.

    Args:
        environment: variables such as `USER`, `LOGNAME`, `HOME`, `EMAIL`.
        host: the machine's name, with or without its domain.
        git_settings: `git config` entries, such as `user.name`, `user.email` and `remote.origin.url`.

    >>> identities_of_machine({"USER": "zkowal", "HOME": "/home/zkowal"}, "atlas7", {}).words[0]
    (b'atlas7', <Category.HOST: 'ho'>)
    """
    home = environment.get("HOME", "") or environment.get("USERPROFILE", "")
    owners = [
        match["owner"]
        for key, value in git_settings.items()
        if key.startswith("remote.") and key.endswith("url") and (match := _REMOTE_OWNER.search(value))
    ]
    return KnownIdentities.collect(
        users=[environment.get(key, "") for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")] + _name_of_home(home),
        names=[environment.get("GIT_AUTHOR_NAME", ""), git_settings.get("user.name", "")],
        hosts=[host, host.partition(".")[0], environment.get("HOSTNAME", "")],
        emails=[
            environment.get("EMAIL", ""),
            environment.get("GIT_AUTHOR_EMAIL", ""),
            git_settings.get("user.email", ""),
        ],
        organisations=owners,
    )


def _name_of_home(home: str) -> list[str]:
    """Return the account that a home folder is named after; elsewhere its name is a word like any other."""
    *_, parent, name = ["", "", *re.split(r"[\\/]", home.rstrip("\\/"))]
    return [name] if parent.lower() in {"home", "users"} else []


_GIT_SECTION = re.compile(r'\s*\[(?P<name>[\w.-]+)(?:\s+"(?P<sub>[^"]*)")?\]')
_GIT_ENTRY = re.compile(r"\s*(?P<key>[A-Za-z][\w-]*)\s*=\s*(?P<value>.*?)\s*$")


def _parse_git_settings(text: str) -> dict[str, str]:
    r"""Return the entries of a git configuration file as `section.subsection.key`; what is no entry is skipped.

    Only names and addresses to look for are taken from it, so a file that git itself would refuse does no harm.

    >>> _parse_git_settings('[user]\n\tname = Zoe')
    {'user.name': 'Zoe'}
    """
    settings: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if header := _GIT_SECTION.match(line):
            section = ".".join(part for part in (header["name"].lower(), header["sub"]) if part)
        elif entry := _GIT_ENTRY.match(line):
            settings[f"{section}.{entry['key'].lower()}"] = entry["value"].strip('"')
    return settings


_KEY_FILE = "pseudonyms.key"


def find_key() -> Path:
    """Return where the key of this account's pseudonyms lies, or will lie.

    >>> find_key().name
    'pseudonyms.key'
    """
    return Path(os.environ.get("KAIZEN_HOME") or Path.home() / ".kaizen").expanduser() / _KEY_FILE


def collect_identities(folders: Iterable[Path]) -> KnownIdentities:
    """Return the identities of this account and machine, and of the repositories around `folders`.

    >>> isinstance(collect_identities([]), KnownIdentities)
    True
    """
    repositories = {found for folder in folders if (found := _find_settings(folder)) is not None}
    home = Path.home()
    of_account = _read_settings([home / ".config" / "git" / "config", home / ".gitconfig"])
    words = dict(identities_of_machine(os.environ, socket.gethostname(), of_account).words)
    for file in sorted(repositories):
        of_repository = {**of_account, **_read_settings([file])}
        words |= identities_of_machine(os.environ, "", of_repository).words
    return KnownIdentities(tuple(words.items()))


def _find_settings(folder: Path) -> Path | None:
    candidates = (parent / ".git" / "config" for parent in (folder, *folder.parents))
    return next((file for file in candidates if file.is_file()), None)


def _read_settings(files: Iterable[Path]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for file in files:
        if file.is_file() and os.access(file, os.R_OK):
            settings |= _parse_git_settings(file.read_text("utf-8", "replace"))
    return settings

"""Folders as text: one spelling for each, and one answer to "in this folder or below".

Transcripts come from other machines and other systems, so nothing here asks the disk.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_DRIVE = re.compile(r"/?([A-Za-z]):(?=[/\\]|$)")
_NO_UTF8 = re.compile(r"[\ud800-\udfff]")
"""What Python reads of a name whose bytes are no UTF-8."""
_OTHER = re.compile(r"[^A-Za-z0-9]+")
_SHARE = re.compile(r"//[^/.]")
_ADDRESS = re.compile(r"(?:(file):(?=/)|[a-z][\w+.-]+:(?=//))(?://([^/]*))?(.*)", re.DOTALL | re.IGNORECASE)
_VERBATIM = re.compile(r"[/\\]{2}[?.][/\\](?:UNC(?=[/\\]))?", re.IGNORECASE)
"""Begins a path that Windows takes as it is, of any length; programs that resolve links write it."""

_SUBSYSTEM = re.compile(r"//wsl(?:\$|\.localhost)/[^/]+", re.IGNORECASE)
"""How Windows names the root folder of a Linux below it."""


def normalise_folder(text: str) -> str:
    r"""Return a folder in the one spelling that the store uses.

    An address (`file://`, `vscode-remote://`) becomes its path, a drive letter is a capital, a Windows path has
    slashes, no slash ends it, and a folder of a Linux below Windows has the name that it has there. A byte that is no
    UTF-8 becomes U+FFFD, as the agents write it.

    >>> normalise_folder("file:///c%3A/Users/dev/my%20app/")
    'C:/Users/dev/my app'
    >>> normalise_folder("d:\\src\\app\\"), normalise_folder("\\\\?\\D:\\src\\app")
    ('D:/src/app', 'D:/src/app')
    >>> normalise_folder("vscode-remote://wsl%2Bubuntu/srv/app"), normalise_folder("\\\\wsl$\\Ubuntu\\srv\\app")
    ('/srv/app', '/srv/app')
    >>> normalise_folder("file://server/share/app"), normalise_folder("\\\\server\\share\\app")
    ('//server/share/app', '//server/share/app')
    >>> normalise_folder("/srv/dev//app/./lib/.."), normalise_folder("/")
    ('/srv/dev/app', '/')
    """
    text = _NO_UTF8.sub("\N{REPLACEMENT CHARACTER}", text)
    if told := _ADDRESS.fullmatch(text):
        share = unquote(told[2] or "") if told[1] else ""
        text = (f"//{share}" if share not in ("", "localhost") else "") + unquote(told[3])
    if verbatim := _VERBATIM.match(text):
        text = ("\\" if verbatim[0][-1] not in "/\\" else "") + text[verbatim.end() :]
    if drive := _DRIVE.match(text):
        text = f"{drive[1].upper()}:{text[drive.end() :]}/".replace("\\", "/")
    elif text.startswith("\\"):
        text = text.replace("\\", "/")
    if below := _SUBSYSTEM.match(text):
        text = text[below.end() :] or "/"
    parts: list[str] = []
    for part in text.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and text.startswith("/")):
            parts.append(part)
    path = "/".join(parts) + "/" * (drive is not None and len(parts) == 1)
    if _SHARE.match(text):
        return f"//{path}"  # a folder of another machine
    return f"/{path}" if text.startswith("/") else path


def spell_alike(folder: str) -> str:
    r"""Return what all spellings of a normalised folder share: a Mac writes accents in two ways, Windows any case.

    >>> spell_alike("C:/Src/App"), spell_alike("/srv/cafe\u0301") == spell_alike("/srv/caf\xe9")
    ('c:/src/app', True)
    """
    folder = unicodedata.normalize("NFC", folder)
    return folder.lower() if _DRIVE.match(folder) else folder


def is_in_folder(folder: str, root: str) -> bool:
    r"""Return whether a folder is `root` or lies below it, whatever their spellings.

    >>> is_in_folder("/repo/sub", "/repo/"), is_in_folder("/repository", "/repo")
    (True, False)
    >>> is_in_folder("c:\\Src\\app", "C:/src")
    True
    """
    inner, outer = spell_alike(normalise_folder(folder)), spell_alike(normalise_folder(root))
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def folder_prefix(folder: str | None) -> str | None:
    """Return what a workspace with a slash behind it begins with if it is this folder or below; None for no folder.

    Queries take it as the parameter `$folder`.

    >>> folder_prefix("/repo/"), folder_prefix("/"), folder_prefix(None)
    ('/repo/', '/', None)
    """
    return None if folder is None else normalise_folder(folder).rstrip("/") + "/"


def in_folders(folders: Iterable[str]) -> pl.Expr:
    """Return the condition that the column `workspace` is one of these folders or below; no folder leaves nothing out.

    >>> import polars as pl
    >>> frame = pl.DataFrame({"workspace": ["/repo", "/repo/api", "/repository"]})
    >>> frame.filter(in_folders(["/repo/"]))["workspace"].to_list()
    ['/repo', '/repo/api']
    """
    import polars as pl

    workspace = pl.col("workspace") + "/"
    inside = [workspace.str.starts_with(folder_prefix(folder) or "") for folder in folders]
    return pl.any_horizontal(inside) if inside else pl.lit(value=True)


def slug_of(folder: str) -> str:
    """Return what is left of a folder in a name that Cursor makes of it: letters and digits, joined by dashes.

    >>> slug_of("/srv/dev/my.app"), slug_of("c-Users-dev")
    ('srv-dev-my-app', 'c-users-dev')
    """
    return _OTHER.sub("-", folder).strip("-").lower()

"""Folders as text: one spelling for each, and one answer to "in this folder or below".

Transcripts come from other machines and other systems, so nothing here asks the disk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

_DRIVE = re.compile(r"/?([A-Za-z]):(?=[/\\]|$)")
_NO_UTF8 = re.compile(r"[\ud800-\udfff]")
"""What Python reads of a name whose bytes are no UTF-8."""
_OTHER = re.compile(r"[^A-Za-z0-9]+")
_SHARE = re.compile(r"//[^/.]")
_URI = re.compile(r"[A-Za-z][\w+.-]*://")


def normalise_folder(text: str) -> str:
    r"""Return a folder in the one spelling that the store uses.

    An address (`file://`, `vscode-remote://`) becomes its path, a drive letter is a capital, a Windows path has
    slashes, and no slash ends it. A byte that is no UTF-8 becomes U+FFFD, as the agents write it.

    >>> normalise_folder("file:///c%3A/Users/dev/my%20app/")
    'C:/Users/dev/my app'
    >>> normalise_folder("d:\\src\\app\\")
    'D:/src/app'
    >>> normalise_folder("vscode-remote://wsl%2Bubuntu/srv/dev/app")
    '/srv/dev/app'
    >>> normalise_folder("file://server/share/app"), normalise_folder("\\\\server\\share\\app")
    ('//server/share/app', '//server/share/app')
    >>> normalise_folder("/srv/dev//app/./"), normalise_folder("/")
    ('/srv/dev/app', '/')
    """
    text = _NO_UTF8.sub("\N{REPLACEMENT CHARACTER}", text)
    if _URI.match(text):
        told = urlsplit(text)
        share = f"//{told.netloc}" if told.scheme == "file" and told.netloc not in ("", "localhost") else ""
        text = share + unquote(told.path)
    if drive := _DRIVE.match(text):
        text = f"{drive[1].upper()}:{text[drive.end() :]}".replace("\\", "/")
    elif text.startswith("\\\\"):
        text = text.replace("\\", "/")
    path = "/".join(part for part in text.split("/") if part not in ("", "."))
    if _SHARE.match(text):
        return f"//{path}"  # a folder of another machine
    return f"/{path}" if text.startswith("/") else path


def is_in_folder(folder: str, root: str) -> bool:
    r"""Return whether a folder is `root` or lies below it, whatever their spellings.

    >>> is_in_folder("/repo/sub", "/repo/"), is_in_folder("/repository", "/repo")
    (True, False)
    >>> is_in_folder("c:\\Src\\app", "C:/src")
    True
    """
    inner, outer = normalise_folder(folder), normalise_folder(root)
    if _DRIVE.match(outer):
        inner, outer = inner.lower(), outer.lower()
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

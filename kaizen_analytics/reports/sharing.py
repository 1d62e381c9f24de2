"""Reports that leave this machine: texts from data are redacted before the page is made, and the page is looked at.

The two work on their own. `protect` runs inside the notebook and sees whole values; `Share.refuse_leaks` runs on the
finished bytes, whoever made them, so a notebook that does not call `protect` publishes nothing that it would have
had to redact.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.redact import KnownIdentities, Redactor
    from kaizen_analytics.redact.placeholders import Category
    from kaizen_analytics.reports.ledger import RunRecord

_VARIABLE = "KAIZEN_SHARE"
_FILE = "share.json"
_FRAME = ("experiments", "reports", "retro", "stats")
_SOURCES = frozenset({".py", ".j2", ".css"})

_Data = TypeVar("_Data")


@dataclass(frozen=True, slots=True)
class Share:
    """The identities that must not leave and the key of their pseudonyms."""

    known: KnownIdentities
    key: bytes

    @property
    def redactor(self) -> Redactor:
        """What replaces secrets and identities."""
        from kaizen_analytics.redact import open_redactor

        return open_redactor(self.known, self.key)

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the same data would be redacted differently."""
        return hashlib.sha256(self._to_json()).hexdigest()

    def redact_record(self, record: RunRecord) -> RunRecord:
        """Return the record of a run without the names of this machine and of what it was made from."""
        from kaizen_analytics.redact import redact_tree

        host = f"host-{hmac.new(self.key, record.host.encode(), hashlib.sha256).hexdigest()[:10]}"
        parameters, subject = redact_tree(self.redactor, (record.parameters, record.subject))
        return replace(record, host=host, parameters=parameters, subject=subject)

    def redact_parameters(self, notebook: Any) -> None:  # noqa: ANN401 - nbformat has no types
        """Redact the cell that names what the notebook was run with."""
        for cell in notebook.cells:
            if "injected-parameters" in cell.metadata.get("tags", ()):
                cell.source = self.redactor.redact(cell.source)

    def refuse_leaks(self, artefacts: Mapping[str, bytes], notebook: bytes = b"") -> None:
        """Fail if a finished file holds anything that must not leave.

        Args:
            artefacts: Content of the files by name.
            notebook: Source of the notebook. A user called Mark is in every style sheet: the words of the notebook
                and of our own pages are not taken for people's.

        Raises:
            RedactionError: something was found.
        """
        from kaizen_analytics.redact import Scanner, refuse_leaks

        refuse_leaks(artefacts, Scanner(_without_words_of(self.known, _read_frame() + notebook.lower())))

    @contextmanager
    def active(self, private: Path) -> Iterator[None]:
        """Let `protect` redact in this process and in those that it starts; `private` is a folder of this run."""
        file = private / _FILE
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(self._to_json())
        former = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(file)
        try:
            yield
        finally:
            os.environ.pop(_VARIABLE)
            if former is not None:
                os.environ[_VARIABLE] = former

    def _to_json(self) -> bytes:
        words = [[word.decode("utf-8", "replace"), category.value] for word, category in self.known.words]
        return json.dumps({"key": self.key.hex(), "words": words}).encode()


def prepare_share(stores: Sequence[Path]) -> Share:
    """Return what a report on `stores` needs to leave: all that is known about whose data it is.

    Known are this account and machine, and for each store its users, its organisations and the owners of the
    repositories in which its sessions ran.

    Raises:
        RedactionError: the key of the pseudonyms cannot be read or made.
        StoreError: a store cannot be read.
    """
    from kaizen_analytics.redact import KnownIdentities, collect_identities, find_key, load_key

    words: dict[bytes, Category] = {}
    folders = {Path.cwd()}
    for store in stores:
        known, workspaces = _read_store(store)
        words |= known.words
        folders |= workspaces
    words |= collect_identities(sorted(folders)).words
    return Share(KnownIdentities(tuple(words.items())), load_key(find_key()))


def protect(data: _Data) -> _Data:
    """Return `data` with every text redacted if the report is made to be shared, else as it is.

    For notebooks: call it on what was read, before anything is shown. Takes records, lists and mappings of any depth.
    """
    file = os.environ.get(_VARIABLE)
    if file is None:
        return data
    from kaizen_analytics.redact import KnownIdentities, redact_tree
    from kaizen_analytics.redact.placeholders import Category

    record = json.loads(Path(file).read_bytes())
    words = tuple((word.encode(), Category(category)) for word, category in record["words"])
    return redact_tree(Share(KnownIdentities(words), bytes.fromhex(record["key"])).redactor, data)


def _read_store(store: Path) -> tuple[KnownIdentities, set[Path]]:
    from kaizen_analytics.columnar import read_mirror
    from kaizen_analytics.redact import KnownIdentities

    sessions, attributes = read_mirror(
        store, lambda mirror: (mirror.table("sessions"), mirror.table("ka_session_attributes"))
    )
    users, organisations, workspaces = (
        frame[name].drop_nulls().unique().to_list()
        for frame, name in ((attributes, "user"), (attributes, "organisation"), (sessions, "workspace"))
    )
    people = [user for user in users if "@" not in user]
    known = KnownIdentities.collect(
        users=people, emails=[user for user in users if "@" in user], organisations=organisations
    )
    return known, {Path(text) for text in workspaces if text.startswith("/") and "\0" not in text}


def _read_frame() -> bytes:
    package = Path(__file__).resolve().parents[1]
    files = (path for name in _FRAME for path in sorted((package / name).rglob("*")) if path.suffix in _SOURCES)
    return b"\n".join(path.read_bytes() for path in files).lower()


def _without_words_of(known: KnownIdentities, frame: bytes) -> KnownIdentities:
    from kaizen_analytics.redact import KnownIdentities

    def occurs(word: bytes) -> bool:
        return re.search(rb"(?<![a-z0-9])" + re.escape(word) + rb"(?![a-z0-9])", frame) is not None

    return KnownIdentities(tuple((word, category) for word, category in known.words if not occurs(word)))

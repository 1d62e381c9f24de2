"""Reports that leave this machine: texts from data are redacted before the page is made, and the page is looked at.

The two work on their own. `protect` runs inside the notebook and sees whole values; `Share.refuse_leaks` runs on the
finished bytes, whoever made them, so a notebook that does not call `protect` publishes nothing that it would have
had to redact.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kaizen_analytics import redact
from kaizen_analytics.core.files import open_folder
from kaizen_analytics.core.git import Repository
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kaizen_analytics.reports.publication import RunRecord

_VARIABLE = "KAIZEN_SHARE"
_FILE = "share.json"
_FRAME = ("core", "experiments", "pages", "reports", "retro", "stats")
_SOURCES = frozenset({".py", ".j2", ".css"})

_Data = TypeVar("_Data")


@dataclass(frozen=True, slots=True)
class Share:
    """The identities that must not leave and the key of their pseudonyms."""

    known: redact.KnownIdentities
    key: bytes
    tracked: frozenset[str] = frozenset()
    """Files that git tracks in the repository around the current folder; their names may leave."""

    @property
    def redactor(self) -> redact.Redactor:
        """What replaces secrets and identities."""
        return redact.open_redactor(self.known, self.key)

    @property
    def fingerprint(self) -> str:
        """A hash that changes when the same data would be redacted differently."""
        return hashlib.sha256(self._to_json()).hexdigest()

    def project(self, data: _Data) -> _Data:
        """Return a copy of `data` as it may leave: fields as `NAMES` says; one that it does not name is a name."""
        redactor = self.redactor
        wording = Wording(redactor=redactor, tracked=self.tracked)

        def cover(holder: object, field: str, text: str) -> str:
            return _COVERS[NAMES.get(f"{type(holder).__name__}.{field}", "value")](wording, text)

        return redact.redact_tree(redactor, data, cover=cover)

    def redact_record(self, record: RunRecord) -> RunRecord:
        """Return the record of a run without the names of this machine and of what it was made from."""
        redactor, kind = self.redactor, redact.Category.HOST
        host = f"<R:{kind}:{redactor.pseudonyms.name(kind, record.host.encode())}>"
        parameters, subject = redact.redact_tree(redactor, (record.parameters, record.subject))
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
        redact.refuse_leaks(artefacts, redact.Scanner(_without_words_of(self.known, _read_frame() + notebook.lower())))

    @contextmanager
    def active(self, staging: Path) -> Iterator[None]:
        """Let `protect` redact in this process and in those that it starts; `staging` is the folder of this run."""
        file = staging / _FILE
        with open_folder(staging) as folder, os.fdopen(folder.create(_FILE), "wb") as stream:
            stream.write(self._to_json())
        former = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(file)
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            os.environ.pop(_VARIABLE)
            if former is not None:
                os.environ[_VARIABLE] = former

    def _to_json(self) -> bytes:
        words = [[word.decode("utf-8", "replace"), category.value] for word, category in self.known.words]
        return json.dumps({"key": self.key.hex(), "words": words, "tracked": sorted(self.tracked)}).encode()


def prepare_share(stores: Sequence[Path]) -> Share:
    """Return what a report on `stores` needs to leave: all that is known about whose data it is.

    Known are this account and machine, and for each store its users, its organisations and the owners of the
    repositories in which its sessions ran.

    Raises:
        RedactionError: the key of the pseudonyms cannot be read or made.
        StoreError: a store cannot be read.

    >>> import os
    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, {"KAIZEN_HOME": str(tmp)}):
    ...     share = prepare_share([store.path])
    >>> share.redactor.redact("ada@example.org")[:6]
    '<R:em:'
    """
    words: dict[bytes, redact.Category] = {}
    folders = {Path.cwd()}
    for store in stores:
        known, workspaces = _read_store(store)
        words |= known.words
        folders |= workspaces
    words |= redact.collect_identities(sorted(folders)).words
    known = redact.KnownIdentities(tuple(words.items()))
    return Share(known, redact.load_key(redact.find_key()), list_tracked(Path.cwd()))


def list_tracked(folder: Path) -> frozenset[str]:
    """Return the files that git tracks in the repository around a folder, as bets and tables name them.

    >>> list_tracked(tmp)
    frozenset()
    """
    repository = Repository.find(folder)
    files = frozenset() if repository is None else repository.list_files()
    # Where a store has several workspaces, the folder of each stands before its files.
    return files | {f"{repository.root.name}/{file}" for file in files} if repository else files


def protect(data: _Data) -> _Data:
    """Return `data` as it may leave if the report is made to be shared, else as it is.

    For notebooks: call it on what was read, before anything is shown. Takes records, lists and mappings of any depth.
    Names (`NAMES`) that are not public become pseudonyms; every other text is redacted.

    >>> protect({"user": "ada"})  # redacts only while a report is made to be shared
    {'user': 'ada'}
    """
    file = os.environ.get(_VARIABLE)
    if file is None:
        return data
    record = json.loads(Path(file).read_bytes())
    words = tuple((word.encode(), redact.Category(category)) for word, category in record["words"])
    share = Share(redact.KnownIdentities(words), bytes.fromhex(record["key"]), frozenset(record["tracked"]))
    return share.project(data)


_KINDS = {
    "shared": """
        Experiment.id Experiment.name Experiment.hypothesis Experiment.change_description ExperimentLine.id
        ExperimentLine.name PortfolioLine.id PortfolioLine.name GitCommit.control_commit GitCommit.treatment_commit
        Start.control_ref Start.treatment_ref
    """,
    "ours": """
        Evaluation.design Evaluation.excluded Evaluation.flags Evaluation.provenance Randomisation.control_sha256
        Randomisation.treatment_sha256 Randomisation.seed Decision.changed Shortage.arm Split.by Split.control
        Split.treatment SampleRatio.unit Segment.dimension Curve.arm Mismatch.column Retro.timezone Retro.provenance
        Finding.id Finding.kind Finding.exposure Finding.saving Finding.test NotEvaluable.kind NotEvaluable.reason
        Followed.id Followed.kind ExperimentLine.state _LargeSession.arm
    """,
    "sentence": """
        Finding.title Finding.seen Change.line Change.habit Followed.title FormerBet.title
    """,
    "list": "History.kinds",
    "session": "_LargeSession.session_id _Moment.session_id",
    "settings": "Change.merge",
}
NAMES: dict[str, str] = {field: kind for kind, fields in _KINDS.items() for field in fields.split()}
"""What a field of a record holds. One that is not here holds a name of the store, which becomes a pseudonym.

`shared` is what a user shares on purpose, and `ours` are words that this package writes: both leave redacted.
"""

_COVERS: dict[str, Callable[[Wording, str], str]] = {
    "shared": lambda _, text: text,
    "ours": lambda _, text: text,
    "value": Wording.value,
    "sentence": Wording.sentence,
    "list": lambda wording, text: text if text == "all sessions" else ", ".join(map(wording.value, text.split(", "))),
    "session": Wording.session,
    "settings": Wording.settings,
}


def _read_store(store: Path) -> tuple[redact.KnownIdentities, set[Path]]:
    columns = ("user", "ka_session_attributes"), ("organisation", "ka_session_attributes"), ("workspace", "sessions")
    with Store.open(store, read_only=True, ours=True) as opened:
        users, organisations, workspaces = (
            [text for (text,) in opened.native(f"select distinct {name} from {table}") if text is not None]
            for name, table in columns
        )
    people = [user for user in users if "@" not in user]
    known = redact.KnownIdentities.collect(
        users=people, emails=[user for user in users if "@" in user], organisations=organisations
    )
    return known, {Path(text) for text in workspaces if text.startswith("/") and "\0" not in text}


@cache
def _read_frame() -> bytes:
    package = Path(__file__).resolve().parents[1]
    files = (path for name in _FRAME for path in sorted((package / name).rglob("*")) if path.suffix in _SOURCES)
    return b"\n".join(path.read_bytes() for path in files).lower()


def _without_words_of(known: redact.KnownIdentities, frame: bytes) -> redact.KnownIdentities:
    def occurs(word: bytes) -> bool:
        return re.search(rb"(?<![a-z0-9])" + re.escape(word) + rb"(?![a-z0-9])", frame) is not None

    return redact.KnownIdentities(tuple((word, category) for word, category in known.words if not occurs(word)))

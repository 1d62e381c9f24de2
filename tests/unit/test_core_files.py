"""Files that appear whole or not at all, in the folder that was meant."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import nbformat
import pytest

from kaizen_analytics.core import files
from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.core.files import Folder, hold_folder, open_folder, write_file
from kaizen_analytics.reports import publication, runner
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.publication import OutputError, RunState
from kaizen_analytics.store import Store
from kaizen_analytics.store import connection as opening


@pytest.fixture(params=[True, False], ids=["by descriptor", "as on Windows"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(files, "_HAS_DESCRIPTORS", False)


@pytest.mark.usefixtures("_both_ways")
def test_runs_are_published_put_aside_and_cleared(tmp_path: Path) -> None:
    for run in ("run-1", "run-2"):
        staging = publication.make_staging(tmp_path, run)
        (staging / "report.md").write_text(run)
        publication.publish(staging, run)
    latest = publication.resolve_latest(tmp_path)
    assert latest is not None
    assert (latest / "report.md").read_text() == "run-2"
    failed = publication.set_aside(publication.make_staging(tmp_path, "run-3"), "run-3")
    assert failed.is_dir()
    publication.clear(tmp_path, keep=frozenset({"run-1"}))
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


@pytest.mark.usefixtures("_both_ways")
def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"one")
    write_file(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"two")]


def test_a_failed_write_keeps_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "a", b"one")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_file(tmp_path / "a", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"one")]


def swap(folder: Path, victim: Path) -> None:
    """Put a link in the place of a folder, as somebody may who can write beside it."""
    folder.rename(folder.with_name("moved away"))
    folder.symlink_to(victim, target_is_directory=True)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("out", "victim"):
        (tmp_path / name).mkdir()
    return tmp_path / "out", tmp_path / "victim"


@pytest.mark.usefixtures("_both_ways")
def test_a_folder_may_be_a_link_from_the_start(places: tuple[Path, Path]) -> None:
    out, victim = places
    (out / "link").symlink_to(victim, target_is_directory=True)
    write_file(out / "link" / "a", b"ours")
    assert (victim / "a").read_bytes() == b"ours"


@pytest.mark.usefixtures("_both_ways")
def test_a_folder_that_is_exchanged_is_noticed(places: tuple[Path, Path]) -> None:
    out, victim = places
    with pytest.raises(OSError, match="another folder was put in its place"), open_folder(out):
        swap(out, victim)


def test_a_folder_that_is_swapped_while_a_file_is_written_gets_nothing(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, victim = places
    create = Folder.create
    monkeypatch.setattr(Folder, "create", lambda *given: (create(*given), swap(out, victim))[0])
    with pytest.raises(OSError, match="another folder was put in its place"):
        write_file(out / "a", b"ours")
    assert list(victim.iterdir()) == []


def test_below_a_held_folder_no_link_is_followed(places: tuple[Path, Path]) -> None:
    out, victim = places
    (out / "run").mkdir()
    (victim / "run").mkdir()
    held = hold_folder(out)
    held.__enter__()
    swap(out, victim)
    with pytest.raises(OSError, match="another folder was put in its place"):
        write_file(out / "run" / "a", b"ours")
    with pytest.raises(OSError, match="another folder was put in its place"):
        held.__exit__(None, None, None)
    (victim / "inner").symlink_to(victim / "run")
    with hold_folder(victim), pytest.raises(NotADirectoryError):
        write_file(victim / "inner" / "a", b"ours")
    assert list((victim / "run").iterdir()) == []


def test_what_a_killed_process_left_goes_after_ten_minutes(tmp_path: Path) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "a", b"one")
    write_file(tmp_path / "a", b"two")
    [stray] = [path for path in tmp_path.iterdir() if path.name != "a"]
    os.utime(stray, (0, 0))
    write_file(tmp_path / "a", b"three")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_backup_into_a_swapped_folder_is_none(
    tmp_path: Path, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, victim = places
    Store.open(tmp_path / "kaizen.db", create=True).close()
    create = Folder.create
    monkeypatch.setattr(Folder, "create", lambda *given: (create(*given), swap(out, victim))[0])
    with pytest.raises(StoreError, match="cannot be written"):
        opening.copy_file(tmp_path / "kaizen.db", out / "copy.db")
    assert list(victim.iterdir()) == []


def test_a_report_into_a_swapped_folder_is_none(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, victim = places
    source = tmp_path / "sample.ipynb"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell('x: str = ""', metadata={"tags": ["parameters"]})],
        metadata={"kaizen": {"title": "Sample"}},
    )
    source.write_text(nbformat.writes(notebook))
    report = load_report(source)

    def execute(ours: nbformat.NotebookNode, *_: object, **__: object) -> runner._Execution:
        swap(out / "sample", victim)
        return runner._Execution(state=RunState.SUCCESS, notebook=ours, error=None)

    monkeypatch.setattr(runner, "_execute", execute)
    with pytest.raises(OutputError, match="another folder was put in its place"):
        runner.Runner().run(runner.RunRequest(report=report, parameters={}, out=out))
    assert list(victim.iterdir()) == []

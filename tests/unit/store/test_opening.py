"""What `Store.open` accepts and refuses; whatever it refuses stays as it was, to the byte."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_cases import ENVIRONMENT, MODES, hold, release, run_foreign, run_script, snapshot_files, try_foreign

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.store import Store
from kaizen_analytics.store.connection import _JournalMode

WAYS = ({}, {"create": True}, {"read_only": True})
PAGE = 4096


def assert_refused(path: Path, match: str, **options: bool) -> None:
    """Every given way of opening fails with a StoreError that names the file, and leaves the folder as it was."""
    before = snapshot_files(path.parent)
    for way in (options,) if options else WAYS:
        with pytest.raises(StoreError, match=match) as caught:
            Store.open(path, **way)
        assert path.name in str(caught.value)
    after = snapshot_files(path.parent)
    assert {name: data for name, data in after.items() if data} == {name: data for name, data in before.items() if data}


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "kaizen.db"
    Store.open(path, create=True, journal_mode="DELETE").close()
    run_script(
        path,
        "insert into sessions (id, agent, workspace, started_at_ms, status, trace_path) with recursive n (i) as "
        "(select 1 union all select i + 1 from n where i < 500) select i, 'a', '/w', i, 'Done', 't' from n;"
        "pragma journal_mode = wal",
    )
    return path


@pytest.fixture
def filled(_filled: Path, path: Path) -> Path:
    """Return a closed store with enough sessions to fill several pages."""
    return Path(shutil.copy(_filled, path))


# The file


def test_a_new_store_and_its_folders_are_for_their_owner_only(tmp_path: Path):
    path = tmp_path / "a" / "b" / "kaizen.db"
    previous = os.umask(0)
    try:
        with Store.open(path, create=True) as store, store.write():
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(previous)
    assert modes == {"kaizen.db": 0o600, "kaizen.db-wal": 0o600, "kaizen.db-shm": 0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, path.parent.parent)} == {0o700}


def test_creating_does_not_change_the_umask_even_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("umask belongs to all threads of the process"))
    Store.open(tmp_path / "kaizen.db", create=True).close()


def test_an_existing_store_keeps_its_rights(path: Path):
    Store.open(path, create=True).close()
    path.chmod(0o640)
    with Store.open(path, create=True) as store, store.write():
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "name",
    ["it's.db", 'a"b.db', "a b.db", "x%20?y#z.db", "ünï😀.db", "-dash.db", "file:x.db", ";--.db", "$p.db", "a\nb.db"],
)
def test_any_file_name_works(tmp_path: Path, name: str):
    with Store.open(tmp_path / name, create=True) as store:
        store.native("insert into ka_session_attributes (session_id) values ('a') returning 1")
    with Store.open(str(tmp_path / name), read_only=True) as store:
        assert store.read("select session_id from ka_session_attributes").rows() == [("a",)]
    assert {file.name.removesuffix("-wal").removesuffix("-shm") for file in tmp_path.iterdir()} == {name}


def test_a_symbolic_link_to_a_store_is_followed(path: Path, tmp_path: Path):
    Store.open(path, create=True).close()
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with Store.open(link) as store:
        store.native("insert into ka_session_attributes (session_id) values ('a') returning 1")
    assert link.is_symlink()
    assert run_foreign(path, "select session_id from ka_session_attributes") == [["a"]]


def test_a_relative_path_still_holds_after_the_folder_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with Store.open("kaizen.db", create=True) as store:
        monkeypatch.chdir("/")
        assert store.native("select 1") == [("1",)]
    assert store.path == tmp_path / "kaizen.db"


@pytest.mark.parametrize("mode", MODES)
def test_the_journal_mode_is_as_asked_and_can_be_changed(path: Path, mode: _JournalMode):
    Store.open(path, create=True, journal_mode="WAL" if mode == "DELETE" else "DELETE").close()
    with Store.open(path, journal_mode=mode):
        assert run_foreign(path, "pragma journal_mode") == [[mode.lower()]]


@pytest.mark.parametrize("mode", MODES)
def test_a_commit_waits_for_the_disk(path: Path, mode: _JournalMode):
    with Store.open(path, create=True, journal_mode=mode) as store:
        assert store.native("pragma synchronous") == [("2",)]


def test_nothing_is_spilled_into_the_current_folder(store: Store):
    assert store.read("select current_setting('temp_directory') as folder").item() == ""


# What is no store


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


NO_STORES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "is a directory"),
    "a fifo": (make_fifo, "not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "symbolic link to nowhere"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic link"),
    "two bytes": (lambda path: path.write_bytes(b"hi"), r"not a database.*--store"),
    "text": (lambda path: path.write_bytes(b"some text " * 900), r"not a database.*--store"),
    "SQLite 2": (lambda path: path.write_bytes(b"SQLite format 2\0" + bytes(8000)), r"not a database.*--store"),
    "noise": (lambda path: path.write_bytes(os.urandom(9000)), r"not a database.*--store"),
    "a database of notes": (
        lambda path: run_script(path, "create table notes (body); insert into notes values ('mine')"),
        r"another program's database \(it has notes\)",
    ),
    "another table of the same name": (
        lambda path: run_script(path, "create table events (title TEXT, day TEXT)"),
        "table events has no column",
    ),
}


@pytest.mark.parametrize(("make", "match"), NO_STORES.values(), ids=NO_STORES.keys())
def test_what_is_no_store_is_refused_at_once(path: Path, make: Callable[[Path], object], match: str):
    make(path)
    assert_refused(path, match)  # to open a fifo would wait forever


def test_an_empty_file_becomes_a_store_only_when_asked(path: Path):
    path.touch()
    assert_refused(path, "empty database", create=False)
    assert_refused(path, "empty database", read_only=True)
    with Store.open(path, create=True) as store:
        assert store.native("select count(*) from experiments") == [("0",)]


def test_a_path_below_a_file_is_refused(path: Path):
    path.touch()
    for way in WAYS:
        with pytest.raises(StoreError, match="Not a directory"):
            Store.open(path / "kaizen.db", **way)


@pytest.mark.parametrize("name", ["a\0b.db", "a\udcffb.db", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str):
    for way in WAYS:
        with pytest.raises(StoreError, match=r"file name|too long"):
            Store.open(tmp_path / name, **way)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for parent in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(StoreError, match=r"kaizen\.db"):
            Store.open(parent / "deep" / "kaizen.db", create=True)


# Damage


@pytest.mark.parametrize("size", [16, 50, 100, 1000, PAGE - 1, PAGE, 2 * PAGE + 1, -20 * PAGE - 17, -PAGE - 1, -1])
def test_a_file_that_was_cut_off_is_refused(filled: Path, size: int):
    os.truncate(filled, size if size > 0 else filled.stat().st_size + size)
    assert_refused(filled, "truncated|damaged|not a database")


def test_a_file_whose_schema_is_overwritten_is_refused(filled: Path):
    with filled.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(PAGE - 100))
    assert_refused(filled, "damaged")


def copy_with_wal(path: Path, target: Path) -> None:
    """Copy a store while another program has it open, so that the copy has a WAL with data."""
    insert = "insert into files_touched (session_id, path) select id, hex(zeroblob(500)) from sessions"
    with hold(path, "pragma wal_autocheckpoint = 0", insert):
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{target}{suffix}")
    assert Path(f"{target}-wal").stat().st_size > 100_000


def test_a_copy_with_its_wal_is_whole_and_refused_once_it_is_cut_off(filled: Path, tmp_path: Path):
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / "copy.db"
    copy_with_wal(filled, copy)
    cut = tmp_path / "copies" / "cut" / "copy.db"
    shutil.copytree(copy.parent, cut.parent)
    with Store.open(copy) as store:
        assert store.native("select count(*) from files_touched") == [("500",)]
    os.truncate(cut, 5 * PAGE + 7)
    assert_refused(cut, "damaged")


def test_damage_that_a_later_read_meets_is_a_store_error(filled: Path):
    [[root]] = run_foreign(filled, "select rootpage from sqlite_master where name = 'sessions'")
    with filled.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(bytes(PAGE))
    with Store.open(filled, read_only=True) as store, pytest.raises(StoreError, match=r"damaged.*backup"):
        store.read("select * from sessions")


def test_what_a_killed_writer_left_half_done_is_undone(filled: Path):
    run_foreign(filled, "pragma journal_mode = delete")
    killed = "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
    killed += (
        "db.execute('pragma cache_size = 2'); db.execute('begin'); db.execute('update sessions set agent = hex(id)');"
    )
    killed += "db.execute('pragma cache_spill'); os._exit(9)"
    subprocess.run([sys.executable, "-I", "-S", "-c", killed, str(filled)], check=False)
    assert Path(f"{filled}-journal").stat().st_size > 0
    with pytest.raises(StoreError, match="last writer was killed"):
        Store.open(filled, read_only=True)
    with Store.open(filled) as store:
        assert store.native("select count(*) from sessions where agent = 'a'") == [("500",)]


# Rights

UNPRIVILEGED = """
import os, sys
from pathlib import Path
from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.store import Store

def answer(path, **options):
    try:
        with Store.open(path, **options) as store:
            return "opened " + store.native("select count(*) from experiments")[0][0]
    except KaizenError as error:
        return type(error).__name__ + " " + str(error)

answer(Path(sys.argv[2]))  # loads everything, which another user may have no right to
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
for options in ({}, {"create": True}, {"read_only": True}):
    print(answer(Path(sys.argv[1]), **options))
"""


def open_unprivileged(path: Path, other: Path) -> list[str]:
    """Open a store, every way, as a user who is not root, and return a line for each; `other` is any store."""
    command = [sys.executable, "-c", UNPRIVILEGED, str(path), str(other)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    if "cannot load its sqlite extension" in done.stdout:
        pytest.skip("another user cannot read the installed packages")
    return done.stdout.splitlines()


@pytest.fixture
def shared(filled: Path):
    """Return a store that anybody may read, in a folder that anybody may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copy(filled, folder / "kaizen.db")
    (folder / "kaizen.db").chmod(0o644)
    if os.geteuid() != 0:
        (folder / "kaizen.db").chmod(0o444)
        folder.chmod(0o555)
    yield folder / "kaizen.db"
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_is_refused_for_writing(shared: Path, filled: Path):
    write, create, read = open_unprivileged(shared, filled)
    assert "StoreError" in write
    assert "is not writable" in write
    assert create == write
    # A WAL needs a file beside the store even to be read.
    assert read == "opened 0" or ("StoreError" in read and "Check its rights" in read)
    assert run_foreign(shared, "pragma integrity_check") == [["ok"]]


def test_a_read_only_store_without_a_wal_can_be_read(shared: Path, filled: Path):
    if os.geteuid() != 0:
        shared.chmod(0o644)
        shared.parent.chmod(0o755)
    run_foreign(shared, "pragma journal_mode = delete")
    before = shared.read_bytes()
    assert open_unprivileged(shared, filled)[2] == "opened 0"
    assert shared.read_bytes() == before


def test_a_store_that_may_not_be_read_is_refused(shared: Path, filled: Path):
    shared.chmod(0o000)
    answers = open_unprivileged(shared, filled)
    assert [answer.split()[0] for answer in answers] == ["StoreError"] * 3


# Locks


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "lock"), [("WAL", "begin immediate"), ("DELETE", "begin exclusive")])
def test_opening_waits_for_another_program(path: Path, mode: _JournalMode, lock: str):
    Store.open(path, create=True, journal_mode=mode).close()
    with hold(path, lock) as other:
        threading.Timer(0.3, release, [other]).start()
        with Store.open(path, journal_mode=mode) as store:
            assert store.native("select count(*) from experiments") == [("0",)]


@pytest.mark.slow
def test_migrating_waits_for_another_program(path: Path):
    run_script(path, "create table experiment_tags (experiment_id TEXT, session_id TEXT, variant TEXT)")
    with hold(path, "begin immediate", "insert into experiment_tags values ('e', 's', 'Control')") as other:
        threading.Timer(0.3, release, [other]).start()
        with Store.open(path) as store:
            assert store.native("select count(*) from experiment_tags") == [("0",)]
            assert store.native("pragma journal_mode") == [("wal",)]


def test_a_lock_that_never_comes_free_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kaizen_analytics.store.connection._BUSY_TIMEOUT_MS", 100)
    Store.open(path, create=True, journal_mode="DELETE").close()
    with hold(path, "begin exclusive"), pytest.raises(StoreError, match="Another program held its lock") as caught:
        Store.open(path, journal_mode="DELETE")
    assert caught.value.exit_code == 75
    assert try_foreign(path, "begin exclusive")


# Closing


def test_a_closed_store_says_so(store: Store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.native("select 1")
    with pytest.raises(StoreError, match="is closed"):
        store.read("select 1")
    with pytest.raises(StoreError, match="is closed"), store.write():
        pass


def test_closing_leaves_no_file_but_the_store(store: Store, path: Path):
    store.native("insert into ka_session_attributes (session_id) values ('a') returning 1")
    store.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_threads_that_create_one_store_all_get_it(path: Path):
    def tag(number: int) -> None:
        with Store.open(path, create=True) as store:
            store.native("insert into ka_session_attributes (session_id) values (?) returning 1", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tag, range(24)))
    assert run_foreign(path, "select count(*) from ka_session_attributes") == [[24]]

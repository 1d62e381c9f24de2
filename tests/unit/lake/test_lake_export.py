"""Exports: only what changed is written, whole or not at all, and nothing that is not what it should be."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from lake_cases import (
    KEY,
    SCANNER,
    Exported,
    contents,
    expected_metrics,
    export,
    make_cases,
    start_experiment,
    write_store,
)
from obstore.store import MemoryStore
from polars.testing import assert_frame_equal

from kaizen_analytics.core.errors import ConfigError, LakeError, RedactionError
from kaizen_analytics.exports.columns import LakeTable
from kaizen_analytics.exports.files import Storage, open_place
from kaizen_analytics.exports.lake.export import export_lake
from kaizen_analytics.exports.lake.reading import load_lake_key, make_lake_key, read_lake, read_metrics
from kaizen_analytics.redact.pseudonyms import KEY_BYTES
from kaizen_analytics.store import Store

KILLER = """
import os, signal, sys
from pathlib import Path
from lake_cases import export
from kaizen_analytics.exports.files import Storage

store, lake, home, step, count = *map(Path, sys.argv[1:4]), sys.argv[4], int(sys.argv[5])
former, calls = getattr(Storage, step), 0

def die(*arguments):
    global calls
    calls += 1
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return former(*arguments)

setattr(Storage, step, die)
export(store, lake, home)
"""


def test_the_plan_is_what_is_written(store: Path, lake: Path, home: Path) -> None:
    start_experiment(store)
    plan = export_lake(store, str(lake), KEY, home=home, scanner=SCANNER, preview=True)
    assert not lake.exists()
    done = export(store, lake, home)
    written = {name: len(raw) for name, raw in contents(lake).items()}
    assert {file.name: file.bytes for file in plan.files} == {
        name: size for name, size in written.items() if name.split("/")[0] in set(LakeTable)
    }
    assert done.files == plan.files
    assert {file.table_name for file in plan.files} >= {"sessions", "events", "files_touched", "experiments"}


def test_only_partitions_with_a_changed_session_are_written_again(store: Path, lake: Path, home: Path) -> None:
    export(store, lake, home)
    before = contents(lake)
    last = make_cases(0, 6)[-1]
    last.events[-1]["tokens_in"] = 12_345
    write_store(store, [last])
    done = export(store, lake, home)
    kept = {name for name, raw in contents(lake).items() if before.get(name) == raw}
    assert len(done.files) == done.files_removed == 1
    assert {name.split("/")[0] for name in before.keys() - kept} == {"events", "catalogues"}
    assert_frame_equal(read_metrics(str(lake)), expected_metrics(store), check_exact=True)


@pytest.mark.slow
def test_a_session_that_is_gone_leaves_the_lake(store: Path, lake: Path, home: Path) -> None:
    export(store, lake, home)
    with Store.open(store) as opened, opened.write():
        for table, column in (("events", "session_id"), ("files_touched", "session_id"), ("sessions", "id")):
            opened.native(f"delete from {table} where {column} = 'S0-005' returning 1")
    export(store, lake, home)
    assert read_metrics(str(lake)).height == 4
    assert_frame_equal(read_metrics(str(lake)), expected_metrics(store), check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "count"),
    [("write", 2), *(pytest.param(*late, marks=pytest.mark.long) for late in (("write", -1), ("sweep", 1)))],
)
def test_a_killed_export_leaves_the_state_before_and_the_next_one_completes(
    store: Path, lake: Path, home: Path, step: str, count: int
) -> None:
    export(store, lake, home)
    former = read_metrics(str(lake))
    write_store(store, make_cases(0, 9))
    plan = export_lake(store, str(lake), KEY, home=home, scanner=SCANNER, preview=True)
    number = str(count if count > 0 else len(plan.files) + 1)  # the catalogue comes last
    arguments = [sys.executable, "-c", KILLER, store, lake, home, step, number]
    killed = subprocess.run(arguments, check=False, cwd=Path(__file__).parent, env=_environment(), capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()

    after = expected_metrics(store) if step == "sweep" else former
    assert_frame_equal(read_metrics(str(lake)), after, check_exact=True)
    export(store, lake, home)
    assert_frame_equal(read_metrics(str(lake)), expected_metrics(store), check_exact=True)
    named = read_lake(str(lake), lambda found: {entry.name for entry in found.entries})
    own = {name for name in contents(lake) if not name.startswith(("catalogues/", "lake.parquet"))}
    assert own == named


def _environment() -> dict[str, str]:
    import os

    root = Path(__file__).parents[3]
    return {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}:{Path(__file__).parent}"}


@pytest.mark.slow
def test_machines_may_export_at_the_same_moment(tmp_path: Path, lake: Path) -> None:
    stores = [write_store(tmp_path / f"{machine}.db", make_cases(machine, 4)) for machine in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: export(path, lake, tmp_path / path.stem), [*stores, *stores]))
    assert read_metrics(str(lake)).height == 12
    assert read_lake(str(lake), lambda found: found.sources) == 4


@pytest.mark.slow
def test_a_missing_or_damaged_file_is_an_error_until_its_machine_exports_again(exported: Exported) -> None:
    lake = exported.lake
    whole = contents(lake)
    [victim, *_] = sorted(lake.glob("events/*/*/*/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-9] + b"corrupted")
    with pytest.raises(LakeError, match=r"is damaged.*Remove it"):
        read_metrics(str(lake))
    victim.unlink()
    with pytest.raises(LakeError, match="is missing although its catalogue names it"):
        read_metrics(str(lake))
    export(exported.store, lake, exported.home)
    assert contents(lake) == whole


def test_files_that_no_catalogue_names_do_not_count(exported: Exported) -> None:
    lake = exported.lake
    [given, *_] = sorted(lake.glob("sessions/*/*/*/*.parquet"))
    given.with_name("foreign.parquet").write_bytes(given.read_bytes())
    given.with_name("notes.parquet").write_text("no Parquet file")
    assert_frame_equal(read_metrics(str(lake)), expected_metrics(exported.store), check_exact=True)


def test_a_foreign_catalogue_is_an_error(exported: Exported) -> None:
    lake = exported.lake
    pl.DataFrame({"a": [1]}).write_parquet(lake / "catalogues" / "other.parquet")
    with pytest.raises(LakeError, match=r"other\.parquet has the columns a; expected source"):
        read_metrics(str(lake))
    (lake / "catalogues" / "other.parquet").write_text("no Parquet file")
    with pytest.raises(LakeError, match=r"other\.parquet is no readable Parquet file"):
        read_metrics(str(lake))


def test_another_key_or_version_is_refused(exported: Exported) -> None:
    store, lake, home = exported.store, exported.lake, exported.home
    before = contents(lake)
    other = bytes(KEY_BYTES)
    with pytest.raises(LakeError, match="begun under another lake key"):
        export(store, lake, home, key=other)
    with pytest.raises(LakeError, match="begun under another lake key"):
        read_metrics(str(lake), key=other)
    assert contents(lake) == before
    mark = pl.read_parquet(lake / "lake.parquet").with_columns(version=pl.lit(9, pl.Int64))
    mark.write_parquet(lake / "lake.parquet")
    with pytest.raises(LakeError, match="has version 9"):
        export(store, lake, home)


def test_a_lake_that_is_not_there_or_cannot_be_written(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"no lake at .*begins one"):
        read_metrics(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="cannot be written"):
        export(exported.store, tmp_path / "file", exported.home)
    with pytest.raises(ConfigError, match="expected a folder, file:///"):
        read_metrics("https://example.org/lake")


def test_a_key_is_made_once_and_never_invented(tmp_path: Path) -> None:
    path = tmp_path / "lake.key"
    with pytest.raises(ConfigError, match=r"--make-key --lake-key .*chmod 600"):
        load_lake_key(path)
    assert not path.exists()
    key = make_lake_key(path)
    assert (load_lake_key(path), path.stat().st_mode & 0o777) == (key, 0o600)
    with pytest.raises(ConfigError, match="a lake keeps its key"):
        make_lake_key(path)
    path.chmod(0o644)
    with pytest.raises(RedactionError, match="chmod 600"):
        load_lake_key(path)


@pytest.mark.slow
def test_a_cell_that_is_not_of_its_kind_stops_the_export(store: Path, lake: Path, home: Path) -> None:
    export(store, lake, home)
    before = contents(lake)
    with Store.open(store) as opened:
        opened.native("update events set tokens_in = -5 where session_id = 'S0-000' and seq = 3 returning 1")
    with pytest.raises(RedactionError, match=r"lake\.events\.tokens_in holds .* no count"):
        export(store, lake, home)
    assert contents(lake) == before


def test_addresses_of_lakes(tmp_path: Path) -> None:
    assert open_place(str(tmp_path)).folder == open_place(f"file://{tmp_path}").folder == tmp_path
    assert open_place("s3://team/lake/") == Storage("s3://team/lake", None)


@pytest.mark.slow
def test_an_object_store_gives_the_same_answers(store: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryStore()
    monkeypatch.setattr("kaizen_analytics.exports.files._open_remote", lambda _url: memory)
    url = "s3://team/lake"
    with pytest.raises(LakeError, match="no lake at"):
        read_metrics(url)
    first = export(store, url, home)
    assert export(store, url, home).files == ()
    write_store(store, make_cases(0, 9))
    second = export(store, url, home)
    assert len(first.files) > len(second.files) > 0 < second.files_removed
    assert_frame_equal(read_metrics(url), expected_metrics(store), check_exact=True)
    open_place(url).write("catalogues/x.parquet", b"no Parquet file")
    with pytest.raises(LakeError, match=r"x\.parquet is no readable Parquet file"):
        read_metrics(url)


def test_what_a_killed_upload_left_is_swept(exported: Exported) -> None:
    named = next(exported.lake.glob("events/*/*/*/*.parquet"))
    strays = [named.with_name(f"{named.name}#1"), exported.lake / "catalogues" / f"{named.parts[-4][6:]}.parquet#2"]
    for stray in strays:
        stray.write_bytes(b"half")
    other = exported.lake / "catalogues" / "other.parquet#1"
    other.write_bytes(b"somebody else is writing it")
    export(exported.store, exported.lake, exported.home)
    assert [stray.exists() for stray in (*strays, other)] == [False, False, True]


def test_an_empty_store_makes_a_lake_without_sessions(tmp_path: Path, lake: Path, home: Path) -> None:
    path = tmp_path / "empty.db"
    Store.open(path, create=True).close()
    done = export(path, lake, home)
    assert len(done.files) == 0
    assert read_metrics(str(lake)).is_empty()

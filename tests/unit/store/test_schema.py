"""Migrations: kaizen-cli's tables are never altered, two processes may start at once, and a kill leaves no half."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import (
    ENVIRONMENT,
    KAIZEN_MARKS,
    KAIZEN_SCHEMA,
    KAIZEN_SESSIONS,
    Crew,
    hold,
    make_experiment,
    run_foreign,
    run_script,
    snapshot_files,
)

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.core.model import Classification, Direction, GuardrailSpec, Metric
from kaizen_analytics.store import Store, list_experiments, manual_tags, save_experiment, schema, tag_session

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECTS = "select type, name, tbl_name, sql from sqlite_master where name not like 'sqlite_%' order by name"
VERSIONS = "select version from ka_migrations order by version"
ALL_VERSIONS = [[migration.version] for migration in schema._MIGRATIONS]

KAIZEN_METADATA = codec.write(make_experiment())
KAIZEN_ROWS = (
    "insert into experiments values ('exp-1', 'Shorter prompt', 1700000000000, '"
    + KAIZEN_METADATA
    + "', 'Draft', null);"
    "insert into experiment_tags values ('exp-1', 's1', 'Control');"
)


def refuse(path: Path, match: str, *, read_only: bool = False) -> None:
    """Opening fails with a StoreError, and no byte of the folder changes."""
    before = snapshot_files(path.parent)
    with pytest.raises(StoreError, match=match):
        Store.open(path, create=not read_only, read_only=read_only)
    after = snapshot_files(path.parent)
    assert {name: data for name, data in after.items() if data} == before


# A store that kaizen-cli made


@pytest.mark.parametrize("script", [KAIZEN_SCHEMA + KAIZEN_ROWS, KAIZEN_SCHEMA + KAIZEN_SESSIONS + KAIZEN_ROWS])
def test_a_kaizen_store_opens_and_its_tables_stay_as_they_were(path: Path, script: str):
    run_script(path, script)
    before = run_foreign(path, OBJECTS)

    with Store.open(path) as store:
        assert [item.id for item in list_experiments(store)] == ["exp-1"]
        tag_session(store, "exp-1", "s2", Classification.TREATMENT)
        assert manual_tags(store, "exp-1") == {"s1": Classification.CONTROL, "s2": Classification.TREATMENT}

    after = run_foreign(path, OBJECTS)
    assert [row for row in before if row not in after] == []
    remarks = {"session_feedback", "session_outcomes", "session_evals", "session_samples", "file_facts"}
    assert {table for _, _, table, _ in after if not table.startswith("ka_")} == {*schema._REQUIRED_COLUMNS, *remarks}
    assert run_foreign(path, VERSIONS) == ALL_VERSIONS
    assert run_foreign(path, "select metadata from experiments") == [[KAIZEN_METADATA]]


def test_a_kaizen_store_can_be_opened_read_only_without_a_change(path: Path):
    run_script(path, KAIZEN_SCHEMA + KAIZEN_ROWS)
    before = snapshot_files(path.parent)
    with Store.open(path, read_only=True) as store:
        assert [item.id for item in list_experiments(store)] == ["exp-1"]
        assert manual_tags(store, "exp-1") == {"s1": Classification.CONTROL}
    assert snapshot_files(path.parent) == before


def test_kaizen_writes_to_a_store_of_ours_with_its_own_statements(store: Store, path: Path):
    save_experiment(store, make_experiment())
    with Store.open(path):
        run_script(
            path,
            KAIZEN_ROWS.replace("'exp-1', 'Shorter", "'exp-2', 'Shorter").replace("'exp-1', 's1'", "'exp-2', 's1'"),
        )
        run_script(path, "insert into experiments (id, name, created_at_ms) values ('d', 'd', 1)")
        insert = (
            "insert into events (session_id, seq, ts_ms, kind, source, payload) values ('s', 0, 0, 'k', 'Tail', '{}')"
        )
        run_foreign(path, insert)
        run_foreign(path, f"{insert} on conflict (session_id, seq) do nothing")
    assert run_foreign(path, "select metadata, state from experiments where id = 'd'") == [["{}", "Draft"]]
    assert run_foreign(path, "select count(*) from events") == [[1]]


@pytest.mark.parametrize("table", ["events", "files_touched", "skills_used", "rules_used"])
def test_ids_of_deleted_rows_are_not_used_again(store: Store, path: Path, table: str):
    columns = {
        "events": "(session_id, seq, ts_ms, kind, source, payload) values ('s', 0, 0, 'k', 'Tail', '{}')",
        "files_touched": "(session_id, path) values ('s', 'p')",
        "skills_used": "(session_id, skill) values ('s', 'p')",
        "rules_used": "(session_id, rule) values ('s', 'p')",
    }[table]
    store.native(f"insert into {table} {columns} returning 1")
    store.native(f"delete from {table} returning 1")
    run_foreign(path, f"insert into {table} {columns}")
    assert store.native(f"select id from {table}") == [("2",)]


@pytest.mark.slow
def test_our_tables_have_kaizens_columns_keys_and_defaults(path: Path, tmp_path: Path):
    kaizen = tmp_path / "kaizen-cli.db"
    run_script(kaizen, KAIZEN_SCHEMA + KAIZEN_SESSIONS)
    Store.open(path, create=True).close()
    for table in schema._REQUIRED_COLUMNS:
        columns = f"""select name, type, [notnull], replace(dflt_value, char(34), char(39)), pk
            from pragma_table_info('{table}')"""
        assert run_foreign(path, columns) == run_foreign(kaizen, columns)
        unique = f"""select group_concat(c.name) from pragma_index_list('{table}') i, pragma_index_info(i.name) c
            where i.[unique] group by i.name order by 1"""
        assert run_foreign(path, unique) == run_foreign(kaizen, unique)


def test_a_table_that_kaizen_lost_is_made_again(path: Path):
    Store.open(path, create=True).close()
    run_foreign(path, "drop table skills_used")
    with Store.open(path) as store:
        assert store.native("select count(*) from skills_used") == [("0",)]


# Versions


def test_every_migration_is_numbered_in_order_and_harmless_when_run_twice(path: Path):
    assert [migration.version for migration in schema._MIGRATIONS] == list(range(1, schema._LATEST + 1))
    assert [migration.name[:4] for migration in schema._MIGRATIONS] == [
        f"m{n:03}" for n in range(1, schema._LATEST + 1)
    ]
    Store.open(path, create=True).close()
    before = run_foreign(path, OBJECTS)
    run_script(path, schema.script(schema._MIGRATIONS, now_ms=1))
    assert run_foreign(path, OBJECTS) == before
    assert run_foreign(path, VERSIONS) == ALL_VERSIONS


def test_the_tables_of_the_former_sync_are_dropped(path: Path):
    run_script(path, schema.script(schema._MIGRATIONS[:4], now_ms=1))
    run_script(path, "create table ka_sync_rows (a); create table ka_sync_batches (a); create table ka_other (a)")
    with Store.open(path) as store:
        assert store.native("select applied_at_ms from ka_migrations where version = 1") == [("1",)]
    assert run_foreign(path, VERSIONS) == ALL_VERSIONS
    assert run_foreign(path, "select name from sqlite_master where name like 'ka_sync%' or name = 'ka_other'") == [
        ["ka_other"]
    ]


def former_experiment(experiment_id: str, metric: Metric, guardrails: Sequence[Metric]) -> str:
    """Return what a former version wrote: what kaizen-cli lacks is in two tables of its own."""
    lacking = {Metric.ACTIVE_MINUTES, Metric.CACHE_HIT_RATE}
    specs = [GuardrailSpec(name, Direction.INCREASE, 5) for name in guardrails]
    ours = [(n, s.metric.value, "Increase", 5.0) for n, s in enumerate(specs) if s.metric in lacking]
    if metric in lacking:
        kept, ours = specs, []
    else:
        kept = [spec for spec in specs if spec.metric not in lacking]
    table = "ka_experiments" if metric in lacking else "experiments"
    text = codec.write(make_experiment(id=experiment_id, metric=metric, guardrails=tuple(kept)))
    rows = f"insert into {table} values ('{experiment_id}', 'Shorter prompt', 1700000000000, '{text}', 'Draft', null);"
    return rows + (f"insert into ka_guardrails values ('{experiment_id}', '{json.dumps(ours)}');" if ours else "")


GUARDRAILS = (Metric.COST_PER_SESSION, Metric.ACTIVE_MINUTES, Metric.TOOL_LOOPS, Metric.CACHE_HIT_RATE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([Metric.TOKENS_PER_SESSION, Metric.ACTIVE_MINUTES]),
            st.lists(st.sampled_from(GUARDRAILS), max_size=7),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=5)
def test_experiments_of_a_former_store_come_into_one_table_with_their_guardrails_in_place(
    wanted: list[tuple[Metric, list[Metric]]],
):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "former.db"
        rows = "".join(former_experiment(f"e{n}", metric, names) for n, (metric, names) in enumerate(wanted))
        run_script(path, schema.script(schema._MIGRATIONS[:8], now_ms=1) + ";" + rows)
        with pytest.raises(StoreError, match=r"older version of kaizen_analytics.*kaizen-analytics init"):
            Store.open(path, read_only=True)

        with Store.open(path, read_only=True, ours=True) as store:
            found = {item.id: item for item in list_experiments(store)}

    for n, (metric, names) in enumerate(wanted):
        assert (found[f"e{n}"].metric, [spec.metric for spec in found[f"e{n}"].guardrails]) == (metric, names)


@pytest.mark.parametrize(
    "script", [KAIZEN_SCHEMA, KAIZEN_SCHEMA + KAIZEN_SESSIONS + KAIZEN_MARKS], ids=["early", "current"]
)
@pytest.mark.parametrize("was_shared", [False, True])
def test_a_file_of_kaizen_is_refused_as_our_own_and_left_as_it_is(path: Path, script: str, *, was_shared: bool):
    run_script(path, script)
    if was_shared:
        Store.open(path).close()
    if was_shared and script == KAIZEN_SCHEMA:
        return  # nothing in it is kaizen-cli's alone
    before = snapshot_files(path.parent)
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"kaizen-analytics import {path}"):
            Store.open(path, read_only=read_only, ours=True)
    assert {name: data for name, data in snapshot_files(path.parent).items() if data} == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_a_newer_version_is_refused(path: Path, *, read_only: bool):
    Store.open(path, create=True).close()
    run_foreign(path, "insert into ka_migrations values (999, 0)")
    refuse(path, f"schema version 999; this version of kaizen_analytics knows {schema._LATEST}", read_only=read_only)


def test_a_migration_with_a_single_quote_is_a_mistake():
    with pytest.raises(StoreError, match="single quote"):
        schema.script((schema.Migration(99, "m099_x", "create table t (a default 'x');"),), now_ms=0)


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    Store.open(path, create=True).close()
    before = run_foreign(path, OBJECTS)
    broken = schema.Migration(99, "m099_x", "create table ka_half (a); create table ka_half (a);")
    monkeypatch.setattr(schema, "_MIGRATIONS", (*schema._MIGRATIONS, broken))
    monkeypatch.setattr(schema, "_LATEST", 99)
    with pytest.raises(StoreError, match="ka_half already exists"):
        Store.open(path)
    assert run_foreign(path, OBJECTS) == before
    assert run_foreign(path, VERSIONS) == ALL_VERSIONS


# What is not as expected


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("alter table events rename column tokens_in to t", "no column tokens_in; expected tokens_in of type INT"),
        ("alter table sessions drop column branch", "table sessions has no column branch"),
        ("drop table experiment_tags; create table experiment_tags (a)", "table experiment_tags has no column"),
        (
            "drop table files_touched; create table files_touched (session_id INTEGER, path TEXT)",
            "table files_touched declares session_id INTEGER; expected session_id of type TEXT",
        ),
        ("drop table rules_used; create table rules_used (session_id, rule)", "declares session_id , rule ; expected"),
        ("drop table experiments; create view experiments as select 1 as id", "view experiments"),
        ("create trigger t after insert on experiment_tags begin delete from sessions; end", "trigger t on experiment"),
        ("create trigger t after insert on ka_results begin delete from sessions; end", "trigger t on ka_results"),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_ours_is_refused(path: Path, change: str, match: str):
    Store.open(path, create=True).close()
    run_script(path, change)
    refuse(path, match)


def test_triggers_elsewhere_and_unknown_tables_do_not_matter(path: Path):
    Store.open(path, create=True).close()
    run_script(path, "create table notes (a); create trigger t after insert on notes begin delete from notes; end")
    run_script(path, "create virtual table words using fts5 (body); alter table events add column later TEXT")
    with Store.open(path) as store:
        assert store.native("select count(*) from experiments") == [("0",)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_with_a_trigger_is_refused_for_reading_and_for_writing(path: Path, *, read_only: bool):
    Store.open(path, create=True).close()
    run_script(path, "create trigger t after insert on sessions begin delete from events; end")
    refuse(path, r"trigger t on sessions.*Remove it \(drop trigger t\)", read_only=read_only)


def test_names_of_tables_are_compared_as_sqlite_does(path: Path):
    run_script(path, KAIZEN_SCHEMA.replace("experiments", "Experiments").replace("metadata", "MetaData"))
    with Store.open(path) as store:
        save_experiment(store, make_experiment())
    assert run_foreign(path, "select id from experiments") == [["exp-1"]]


# Several processes


@pytest.mark.slow
@pytest.mark.parametrize("start", ["", KAIZEN_SCHEMA + KAIZEN_ROWS, "first"], ids=["new", "kaizen-cli", "first"])
def test_eight_processes_create_or_migrate_one_store_at_once(crew: Crew, tmp_path: Path, start: str):
    for number in range(2):
        path = tmp_path / f"{number}.db"
        if start:
            run_script(path, schema.script(schema._MIGRATIONS[:1], now_ms=1) if start == "first" else start)
        assert crew.tell(f"make|{path}") == [str(schema._LATEST)] * 8
        assert run_foreign(path, VERSIONS) == ALL_VERSIONS
        assert run_foreign(path, "pragma integrity_check") == [["ok"]]


MIGRATOR = """
import sys
from pathlib import Path
from kaizen_analytics.store import Store
for path in sorted(Path(sys.argv[1]).glob("*.db")):
    print(path.name, flush=True)
    Store.open(path).close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_kill_during_a_migration_leaves_the_store_before_or_after_it(tmp_path: Path, seed: int):
    paths = [tmp_path / f"{number:03}.db" for number in range(40)]
    run_script(paths[0], KAIZEN_SCHEMA + KAIZEN_ROWS)
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
    with subprocess.Popen(
        [sys.executable, "-c", MIGRATOR, tmp_path], stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        for _ in range(2):
            process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        reached = 2 + len(process.stdout.readlines())
    for path in paths[: reached + 1]:
        assert run_foreign(path, "pragma integrity_check") == [["ok"]]
        tables = {name for _, name, _, _ in run_foreign(path, OBJECTS)}
        assert not {"sessions", "ka_results"} & tables or {"sessions", "ka_results", "ka_migrations"} <= tables
        with Store.open(path) as store:
            assert manual_tags(store, "exp-1") == {"s1": Classification.CONTROL}
        assert run_foreign(path, VERSIONS) == ALL_VERSIONS


def test_a_reader_does_not_stop_a_migration(path: Path):
    run_script(path, "pragma journal_mode = wal;" + KAIZEN_SCHEMA + KAIZEN_ROWS)
    with hold(path, "begin", "select * from experiments"), Store.open(path) as store:
        assert store.native("select count(*) from ka_results") == [("0",)]

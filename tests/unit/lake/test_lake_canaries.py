"""No text of a store leaves: a canary in every text column, and none in any byte or cell of the lake."""

import json
from pathlib import Path

import polars as pl
import pytest
from lake_cases import KEY, SCANNER, START_MS, export, make_cases, make_experiment, start_experiment, write_store

from kaizen_analytics.core.model import Branch, Classification, ManualTag
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.exports.columns import LakeTable
from kaizen_analytics.exports.lake.export import export_lake
from kaizen_analytics.exports.lake.reading import read_metrics
from kaizen_analytics.store import Store

# The project's own columns that hold JSON it has to read; their texts are filled through the experiments below.
STRUCTURED = {"ka_plans.plan", "experiments.metadata", "experiments.state", "experiment_tags.variant"}


@pytest.mark.slow
def test_no_canary_leaves(tmp_path: Path, lake: Path, home: Path) -> None:
    store = write_store(tmp_path / "kaizen.db", make_cases(0, 4))
    name = canary("experiment")
    experiment = make_experiment(
        id=name,
        name=canary("name"),
        hypothesis=canary("hypothesis"),
        change_description=canary("change"),
        binding=Branch(canary("control"), canary("treatment")),
    )
    manual = make_experiment(id=canary("manual"), binding=ManualTag(canary("field")))
    workspaces = (f"/{canary('folder')}/{canary('inner')}",)
    start_experiment(store, experiment, workspaces=workspaces, cluster=Cluster.NONE)
    start_experiment(store, manual, cluster=Cluster.NONE)
    with Store.open(store) as opened:
        lifecycle.tag(opened, name, [canary("tagged")], Classification.CONTROL, now_ms=START_MS)
        filled = fill_with_canaries(opened)
    export(store, lake, home)
    plan = export_lake(store, str(tmp_path / "other"), KEY, home=home, scanner=SCANNER, preview=True)

    assert len(filled) > 40
    assert "canary" not in repr(plan).lower()
    files = sorted(path for path in lake.rglob("*") if path.is_file())
    assert {path.relative_to(lake).parts[0] for path in files} >= set(LakeTable) | {"catalogues", "lake.parquet"}
    for path in files:
        assert "canary" not in str(path.relative_to(lake)).lower()
        assert b"canary" not in path.read_bytes().lower()
        assert "canary" not in pl.read_parquet(path, hive_partitioning=False).write_ndjson().lower()
    assert read_metrics(str(lake)).height == 3


def canary(number: object) -> str:
    return f"Canary-{number}-Canary"


def fill_with_canaries(store: Store) -> list[str]:
    """Put a canary into every text column of every table; ids keep pointing at each other."""
    filled = []
    columns = store.native(
        "select m.name as owner, c.name as part from sqlite_master as m join pragma_table_info(m.name) as c "
        "where m.type = 'table' and upper(c.type) = 'TEXT' and m.name not like 'sqlite_%' order by 1, 2"
    )
    for table, column in columns:
        place = f"{table}.{column}"
        if place in STRUCTURED or column == "experiment_id" or place == "experiments.id":
            continue
        value = (
            f"'{canary('id')}' || {column}"
            if column in ("session_id", "parent_session_id", "path", "skill", "rule") or place == "sessions.id"
            else f"'{payload()}'"
            if column == "payload"
            else f"'{canary(place)}'"
        )
        store.native(f"update {table} set {column} = {value} where true returning 1")
        filled.append(place)
    return filled


def payload() -> str:
    return json.dumps({"role": canary("role"), canary("field"): canary("value"), "text": canary("text")})

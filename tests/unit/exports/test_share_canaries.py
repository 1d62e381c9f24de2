"""Records that reports show: with --share, no word of the store is left but what is shared on purpose."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import get_args, get_type_hints

import pytest
from canary_stores import CANARY, NOW_MS, WEEK

from kaizen_analytics.core.model import Branch, PromptFingerprint
from kaizen_analytics.experiments.evaluation import Evaluation, Segment
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.portfolio import Portfolio, read_portfolio
from kaizen_analytics.pages.conclusion import LargeSession
from kaizen_analytics.redact import KnownIdentities
from kaizen_analytics.reports.sharing import NAMES, Share
from kaizen_analytics.retro.retro import Retro, compute_retro
from kaizen_analytics.store import Store

ON_PURPOSE = {
    "Experiment.id",
    "Experiment.name",
    "Experiment.hypothesis",
    "Experiment.change_description",
    "ExperimentLine.id",
    "ExperimentLine.name",
    "PortfolioLine.id",
    "PortfolioLine.name",
}
"""Who shares a report on an experiment shares what it is called and what it is about."""
SHARE = Share(KnownIdentities(), bytes(32))


def find_canaries(node: object, place: str = "") -> Iterator[str]:
    """Yield the fields that hold a canary."""
    if isinstance(node, str):
        if CANARY in node.lower():
            yield place
    elif is_dataclass(node):
        for one in fields(node):
            yield from find_canaries(getattr(node, one.name), f"{type(node).__name__}.{one.name}")
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from (*find_canaries(key, place), *find_canaries(value, place))
    elif isinstance(node, list | tuple | set | frozenset):
        for item in node:
            yield from find_canaries(item, place)


def read(name: str, store: Store) -> object:
    if name == "evaluation":
        return evaluate(store, f"exp-{CANARY}", now_ms=NOW_MS)
    if name == "portfolio":
        return read_portfolio(store, now_ms=NOW_MS)
    return compute_retro(store, WEEK, now_ms=NOW_MS)


@pytest.mark.parametrize("name", ["evaluation", "portfolio", "retro"])
def test_only_what_is_shared_on_purpose_is_left(canary_store: Store, name: str):
    record = read(name, canary_store)
    before, after = set(find_canaries(record)), set(find_canaries(SHARE.project(record)))
    assert after <= ON_PURPOSE
    assert before & ON_PURPOSE


def list_text_fields(root: type) -> dict[str, tuple[type, str]]:
    """Return every field below a record that can hold a text, by its name in `NAMES`."""
    found: dict[str, tuple[type, str]] = {}
    waiting, seen = [root], set()
    while waiting:
        record = waiting.pop()
        if record in seen:
            continue
        seen.add(record)
        for field, hint in find_hints(record).items():
            parts = list(flatten(hint))
            waiting += [part for part in parts if is_dataclass(part)]
            if str in parts:
                found[f"{record.__name__}.{field}"] = (record, field)
    return found


def find_hints(record: type) -> dict[str, object]:
    """Return the types of a record's fields, also of those that only type checkers import."""
    known: dict[str, object] = {}
    names = {one.name for one in fields(record)}
    while True:
        try:
            hints = get_type_hints(record, vars(sys.modules[record.__module__]), known)
        except NameError as error:
            ours = [
                module for name, module in sys.modules.items() if name.startswith(("kaizen_analytics", "collections"))
            ]
            known[error.name] = next(vars(module)[error.name] for module in ours if error.name in vars(module))
        else:
            return {name: hint for name, hint in hints.items() if name in names}


def flatten(hint: object) -> Iterator[object]:
    yield hint
    for part in get_args(hint):
        yield from flatten(part)


ROOTS = (Evaluation, LargeSession, Portfolio, Retro)
FIELDS = {name: place for root in ROOTS for name, place in list_text_fields(root).items()}
LEFT = {name for name, kind in NAMES.items() if kind in {"shared", "ours"}}


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_text_field_of_a_record_leaves_as_it_is(name: str):
    record, field = FIELDS[name]
    value = {"sentence": f"`{CANARY}` x", "settings": f'{{"{CANARY}": 1}}'}.get(NAMES.get(name, ""), f"{CANARY} x")
    node = object.__new__(record)
    for one in fields(record):
        object.__setattr__(node, one.name, value if one.name == field else None)
    left = getattr(SHARE.project(node), field)
    assert (CANARY in left) == (name in LEFT)


def test_a_field_that_nobody_declared_is_covered():
    @dataclass
    class Evaluation:
        later: str
        texts: tuple[str, ...]
        named: dict[str, str]

    assert list(find_canaries(SHARE.project(Evaluation(CANARY, (CANARY,), {CANARY: CANARY})))) == []


def test_what_is_left_as_it_is_exists_and_is_few():
    assert LEFT - FIELDS.keys() == set()
    assert {name for name in LEFT if NAMES[name] == "shared"} >= ON_PURPOSE


def test_every_name_of_an_experiment_is_covered():
    records = (
        Branch(f"{CANARY}-a", f"refs/heads/{CANARY}"),
        PromptFingerprint(CANARY, f"{CANARY} 2"),
        Plan(workspaces=(f"/srv/{CANARY}",), repository=f"/srv/{CANARY}"),
        Segment(dimension="model", value=f"{CANARY}-7b", result=None),
    )
    assert len(set(find_canaries(records))) == 7
    assert list(find_canaries(SHARE.project(records))) == []


def test_public_names_stay():
    segments = [Segment(dimension="model", value=name, result=None) for name in ("claude-opus-4-5-20251101", "codex")]
    assert [segment.value for segment in SHARE.project(segments)] == ["claude-opus-4-5-20251101", "codex"]

"""`sessions list` and `metrics` say the same of a session, and both find it by any spelling of its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rows import write_rows

from kaizen_analytics.core.folders import folder_prefix, in_folders, is_in_folder
from kaizen_analytics.outcomes.sessions import update_outcomes
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import list_sessions, session_metrics
from kaizen_analytics.usage import RESPONSES, TOOL_CALLS, Chosen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENS = ("tokens_in", "cache_creation_tokens", "cache_read_tokens", "tokens_out", "reasoning_tokens")
COUNTS = st.none() | st.integers(0, 1000)
RESPONSE = st.fixed_dictionaries({**dict.fromkeys(TOKENS, COUNTS), "cost_usd_e6": st.none() | st.integers(0, 10**6)})


def write(store: Store, sessions: dict[str, str], responses: dict[str, list[dict[str, int | None]]]) -> None:
    events = [
        {"session_id": name, "seq": seq, "ts_ms": seq, **response}
        for name, found in responses.items()
        for seq, response in enumerate(found)
    ]
    write_rows(store, [{"id": name, "workspace": folder} for name, folder in sessions.items()], events)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("listing") / "store.db", create=True) as opened:
        yield opened


@pytest.mark.slow
@given(responses=st.lists(RESPONSE, max_size=4))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_listing_and_the_metrics_agree_on_cost_and_tokens(
    shared: Store, responses: list[dict[str, int | None]]
) -> None:
    # A cost without any token count does not occur: the price is that of the counts.
    priced = [r if any(r[name] is not None for name in TOKENS) else {**r, "cost_usd_e6": None} for r in responses]
    write(shared, {"s": "/w"}, {"s": priced})

    [listed] = list_sessions(shared).to_dicts()
    [measured] = session_metrics(shared, rollup=False).to_dicts()

    known = [listed[name] for name in TOKENS if listed[name] is not None]
    assert listed["cost_usd"] == measured["cost_per_session"]
    assert (sum(known) if known else None) == measured["total_tokens_per_session"]


def test_responses_that_only_reason_count_in_both(store: Store) -> None:
    write(store, {"s": "/w"}, {"s": [{"reasoning_tokens": 7, "cost_usd_e6": None}, {"tokens_in": 1, "cost_usd_e6": 5}]})
    assert list_sessions(store)["cost_usd"].to_list() == session_metrics(store)["cost_per_session"].to_list() == [5e-6]
    assert session_metrics(store)["unpriced_responses"].to_list() == [1]


FOLDERS = {"a": "/repo", "b": "/repo/api", "c": "/repository", "d": "/", "e": "C:/Src/app"}


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("/repo", "ab"),
        ("/repo/", "ab"),
        ("/repo/./api//", "b"),
        ("/", "abcd"),
        ("/re", ""),
        ("C:\\Src", "e"),
        ("file:///c%3A/Src/app", "e"),
    ],
)
def test_one_predicate_finds_the_sessions_of_a_folder_in_every_query(store: Store, folder: str, found: str) -> None:
    write(store, FOLDERS, {name: [{"tokens_in": 1, "cost_usd_e6": 1}] for name in FOLDERS})
    chosen = Chosen(workspace=folder)

    assert "".join(sorted(list_sessions(store, workspace=folder)["session_id"])) == found
    assert "".join(sorted(chosen.read(RESPONSES, store)["session_id"])) == found
    assert (
        "".join(sorted(outcome.session_id for outcome in update_outcomes(store, now_ms=1, workspace=folder))) == found
    )
    assert "".join(session_metrics(store).filter(in_folders([folder]))["session_id"]) == found
    assert "".join(name for name, place in FOLDERS.items() if is_in_folder(place, folder)) == found
    assert chosen.read(TOOL_CALLS, store).is_empty()


def test_no_folder_leaves_nothing_out(store: Store) -> None:
    write(store, FOLDERS, {})
    assert folder_prefix(None) is None
    assert list_sessions(store).height == session_metrics(store).filter(in_folders([])).height == len(FOLDERS)


def test_a_folder_that_a_user_names_is_found_by_any_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kaizen_analytics.cli.options import resolve_folder

    repository = tmp_path / "repo"
    (repository / ".git").mkdir(parents=True)
    (repository / "src").mkdir()
    (tmp_path / "link").symlink_to(repository)
    monkeypatch.chdir(repository / "src")
    monkeypatch.setenv("HOME", str(tmp_path))

    spellings = (".", "..", f"{repository}/", "../src/", str(tmp_path / "link"), "~/repo", f"{repository}/./src")
    assert {resolve_folder(text) for text in spellings} == {str(repository)}
    assert resolve_folder(str(tmp_path)) == str(tmp_path)
    assert resolve_folder("D:\\src\\app\\") == "D:/src/app"
    assert resolve_folder("/gone/app/") == "/gone/app"

"""Sync against a real server: what it sends, how it tries again, and what it never does."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from endpoints import Endpoint, serve

from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.datasets.rows import read_session_rows
from kaizen_analytics.errors import ConfigError, DeliveryError, RedactionError
from kaizen_analytics.redact import Redactor
from kaizen_analytics.store import Store
from kaizen_analytics.store.outbox import BatchState, list_batches
from kaizen_analytics.sync import delivery
from kaizen_analytics.sync.delivery import MAX_ATTEMPTS, Outcome, Timing, choose_pause, deliver_all, preview
from kaizen_analytics.sync.settings import Settings
from kaizen_analytics.sync.status import describe
from kaizen_analytics.sync.transport import HttpTransport

NOW_MS = 1_791_187_200_000


class KilledError(BaseException):
    """Stands for a process that ends at this point."""


class Bench:
    """One store, one endpoint, and a clock that only `sleep` moves."""

    def __init__(self, store: Store, redactor: Redactor, endpoint: Endpoint) -> None:
        self.store, self.redactor, self.endpoint = store, redactor, endpoint
        self.settings = Settings(
            url=endpoint.url, enabled=True, tables=("sessions",), batch_rows=10, timeout_s=5, token_env="TOKEN"
        )
        self.slept: list[float] = []
        self.timing = Timing(now_ms=lambda: NOW_MS, sleep=self.slept.append, random=lambda: 1.0)

    def run(self, **options: bool) -> Outcome:
        transport = HttpTransport(settings=self.settings, token="s3cret", now_s=lambda: NOW_MS / 1000)
        return deliver_all(self.store, self.settings, self.redactor, transport, self.timing, **options)

    def pending(self) -> int:
        return len(list_batches(self.store, self.settings.url, BatchState.PENDING))


@pytest.fixture
def make_bench(store: Store, redactor: Redactor) -> Iterator[Callable[..., Bench]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda script=lambda _number: 200: Bench(store, redactor, stack.enter_context(serve(Endpoint(script))))


def is_each_row_once(endpoint: Endpoint, count: int = 25) -> bool:
    rows = endpoint.rows()
    return len(rows) == count and set(rows.values()) == {1}


def test_every_row_leaves_once_and_then_nothing(make_bench):
    bench = make_bench()
    assert bench.run() == Outcome(batches=3, rows=25, parked=0)
    assert is_each_row_once(bench.endpoint)
    assert bench.run() == Outcome()
    assert len(bench.endpoint.requests) == 3


def test_the_preview_is_what_is_sent_byte_for_byte(make_bench):
    bench = make_bench()
    shown = preview(bench.store, bench.settings, bench.redactor, now_ms=NOW_MS)
    assert bench.endpoint.requests == []
    bench.run()
    assert [(one.batch_key, one.body.encode()) for one in shown] == bench.endpoint.requests
    assert preview(bench.store, bench.settings, bench.redactor, now_ms=NOW_MS) == []


def test_the_preview_shows_what_waits_before_what_is_new(make_bench):
    from sync_stores import add_sessions

    bench = make_bench(lambda number: 200 if number > 5 else 401)
    with pytest.raises(DeliveryError):
        bench.run()
    add_sessions(bench.store, range(25, 27))
    shown = preview(bench.store, bench.settings, bench.redactor, now_ms=NOW_MS)
    assert [one.state for one in shown] == ["pending"] * 3 + ["new"]
    bench.endpoint.script = lambda _number: 200
    bench.run()
    assert [one.body.encode() for one in shown] == [body for _, body in bench.endpoint.requests[1:]]


def test_a_request_carries_key_token_and_type(make_bench):
    bench = make_bench()
    bench.run()
    [first, *_] = bench.endpoint.headers
    assert first["Authorization"] == "Bearer s3cret"
    assert first["Content-Type"] == "application/json"
    assert first["Idempotency-Key"] == bench.endpoint.requests[0][0]
    assert len({key for key, _ in bench.endpoint.requests}) == 3


def test_only_what_changed_leaves_again_with_a_higher_revision(make_bench):
    bench = make_bench()
    bench.run()
    bench.store.native("update sessions set ended_at_ms = ended_at_ms + 7200000 where id = 's003' returning 1")
    assert bench.run() == Outcome(batches=1, rows=1)
    bench.store.native("update sessions set ended_at_ms = ended_at_ms - 7200000 where id = 's003' returning 1")
    assert bench.run() == Outcome(batches=1, rows=1), "back to what it was is a change too, under a key of its own"
    assert sorted(revision for _, _, revision in bench.endpoint.rows()) == [1] * 25 + [2, 3]


@pytest.mark.parametrize("trouble", [500, 503, 408, 409, 425, 429, "drop", "half", "lose"])
def test_a_passing_trouble_is_tried_again_under_the_same_key(make_bench, trouble):
    bench = make_bench(lambda number: trouble if number in {0, 1, 3} else 200)
    assert bench.run() == Outcome(batches=3, rows=25)
    keys = [key for key, _ in bench.endpoint.requests]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[3] == keys[4]
    assert is_each_row_once(bench.endpoint)
    assert bench.slept == [0.5, 1.0, 0.5]


def test_a_server_that_stalls_is_left_after_the_timeout(make_bench):
    bench = make_bench(lambda number: "stall" if number == 0 else 200)
    bench.settings = replace(bench.settings, timeout_s=0.2)
    assert bench.run() == Outcome(batches=3, rows=25)
    assert is_each_row_once(bench.endpoint)


def test_retry_after_is_honoured(make_bench):
    bench = make_bench(lambda number: 429 if number == 0 else 200)
    bench.endpoint.answer_headers = {"Retry-After": "7"}
    bench.run()
    assert bench.slept == [7.0]


def test_a_long_retry_after_ends_the_run_and_says_when_to_come_back(make_bench):
    bench = make_bench(lambda _number: 503)
    bench.endpoint.answer_headers = {"Retry-After": "3600"}
    with pytest.raises(DeliveryError, match=r"HTTP 503.* Run again in 3600 s"):
        bench.run()
    assert bench.slept == []
    assert bench.pending() == 3


def test_after_the_last_attempt_the_rest_waits_for_the_next_run(make_bench):
    bench = make_bench(lambda number: 200 if number == 0 or number > MAX_ATTEMPTS else 500)
    with pytest.raises(DeliveryError, match="1 batches were acknowledged, the rest waits"):
        bench.run()
    assert (bench.pending(), len(bench.slept)) == (2, MAX_ATTEMPTS - 1)
    assert bench.run() == Outcome(batches=2, rows=15)
    assert is_each_row_once(bench.endpoint)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_that_is_refused_for_good_is_parked_and_holds_up_nothing(make_bench, status):
    bench = make_bench(lambda number: status if number == 1 else 200)
    bench.endpoint.answer = b"column \x1b[31mevents is missing; you sent s3cret"
    assert bench.run() == Outcome(batches=2, rows=15, parked=1)
    [parked] = describe(bench.store, bench.settings)["parked"]
    assert parked["reason"] == f"HTTP {status}: column [31mevents is missing; you sent ..."
    assert bench.run() == Outcome(), "it is not tried again by itself"
    assert bench.run(retry_parked=True) == Outcome(batches=1, rows=10)
    assert len(bench.endpoint.rows()) == 25


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_an_answer_that_every_batch_would_get_ends_the_run_and_parks_nothing(make_bench, status):
    bench = make_bench(lambda _number: status)
    bench.endpoint.answer_headers = {"Location": "http://127.0.0.1:9/elsewhere"}
    with pytest.raises(DeliveryError, match=f"refuses: HTTP {status}"):
        bench.run()
    assert len(bench.endpoint.requests) == 1, "no redirect is followed, which would carry the token away"
    assert bench.pending() == 3


def test_nobody_listens(make_bench):
    bench = make_bench()
    bench.settings = replace(bench.settings, url="http://127.0.0.1:9/in")
    with pytest.raises(DeliveryError, match="ConnectionRefusedError"):
        bench.run()
    assert len(bench.slept) == MAX_ATTEMPTS - 1


@pytest.mark.parametrize("point", ["add_batch", "acknowledge_batch", "post"])
def test_killed_at_each_step_nothing_is_lost_or_doubled(make_bench, monkeypatch, point):
    bench = make_bench()
    place, name = (HttpTransport, "post") if point == "post" else (delivery, point)
    real, calls = getattr(place, name), []

    def die_at_the_second(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KilledError
        return real(*arguments, **options)

    monkeypatch.setattr(place, name, die_at_the_second)
    with pytest.raises(KilledError):
        bench.run()
    bench.run()
    assert is_each_row_once(bench.endpoint)
    assert bench.pending() == 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_endpoint_ends_with_what_the_store_holds(make_bench, seed):
    rng = random.Random(seed)
    orders = [200, 200, 200, 400, 401, 429, 500, "drop", "half", "lose"]
    bench = make_bench(lambda _number: rng.choice(orders))
    for _ in range(6):
        name, hours = f"s{rng.randrange(25):03}", rng.randrange(5)
        change = "update sessions set ended_at_ms = started_at_ms + ? where id = ? returning 1"
        bench.store.native(change, hours * 3_600_000, name)
        with suppress(DeliveryError):
            bench.run(retry_parked=rng.random() < 0.3)
    bench.endpoint.script = lambda _number: 200
    bench.run(retry_parked=True)
    assert set(bench.endpoint.rows().values()) == {1}
    latest: dict[str, tuple[int, str]] = {}
    for _, content, revision in bench.endpoint.rows():
        name = json.loads(content)["session"]
        latest[name] = max(latest.get(name, (0, "")), (revision, content))
    rows = DATASETS["sessions"]().project(read_session_rows(bench.store), bench.redactor)
    assert {name: content for name, (_, content) in latest.items()} == {
        row["session"]: json.dumps(row, sort_keys=True) for row in rows
    }


def test_a_row_that_changes_while_its_batch_waits_leaves_in_both_versions(make_bench):
    bench = make_bench(lambda number: 401 if number == 0 else 200)
    with pytest.raises(DeliveryError):
        bench.run()
    bench.store.native("update sessions set ended_at_ms = ended_at_ms + 7200000 where id = 's003' returning 1")
    bench.run()
    revisions = [revision for _, _, revision in bench.endpoint.rows()]
    assert sorted(revisions) == [1] * 25 + [2]


def test_nothing_leaves_before_somebody_enabled_it(make_bench):
    bench = make_bench()
    bench.settings = replace(bench.settings, enabled=False)
    with pytest.raises(ConfigError, match="Sync is off"):
        bench.run()
    assert bench.endpoint.requests == []
    assert bench.pending() == 0


def test_a_body_that_holds_a_secret_does_not_leave(make_bench, monkeypatch):
    bench = make_bench()
    rows = [{"session": "a", "mail": "jane.doe@corp.io"}]
    monkeypatch.setattr("kaizen_analytics.datasets.fields.Dataset.project", lambda *_, **__: rows)
    with pytest.raises(RedactionError, match=r"sessions\.json held 1 value"):
        bench.run()
    assert bench.endpoint.requests == []
    assert bench.pending() == 0


def test_a_pending_body_is_scanned_again_before_it_is_sent(make_bench):
    bench = make_bench(lambda _number: 401)
    with pytest.raises(DeliveryError):
        bench.run()
    bench.store.native("update ka_sync_batches set body = 'jane.doe@corp.io' returning 1")
    with pytest.raises(RedactionError):
        bench.run()
    assert len(bench.endpoint.requests) == 1


def test_two_runs_at_once_are_one(make_bench):
    bench = make_bench()
    with delivery.lock(bench.store.path), pytest.raises(DeliveryError, match="Another 'sync run'"):
        bench.run()
    bench.run()
    assert is_each_row_once(bench.endpoint)


def test_another_destination_starts_from_the_beginning(make_bench):
    first, second = make_bench(), make_bench()
    first.run()
    second.run()
    assert is_each_row_once(second.endpoint)
    assert first.run() == Outcome()


def test_the_status_counts_what_each_table_has(make_bench):
    bench = make_bench(lambda number: (200, 400, 401)[number])
    with pytest.raises(DeliveryError):
        bench.run()
    status = describe(bench.store, bench.settings)
    [table] = status["tables"]
    assert (table["acknowledged_rows"], table["parked_rows"], table["pending_rows"]) == (10, 10, 5)
    assert table["last_acknowledged_ms"] == NOW_MS
    assert [batch["reason"] for batch in status["waiting"]] == ['HTTP 401: {"ok":true}']


def test_pauses_double_up_to_a_minute_and_vary():
    assert [choose_pause(attempt, 1.0) for attempt in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert [choose_pause(attempt, 0.0) for attempt in range(3)] == [0.25, 0.5, 1]

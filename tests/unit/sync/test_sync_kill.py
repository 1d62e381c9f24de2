"""`sync run` killed with SIGKILL at random points: the endpoint ends with each row once, and none is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from endpoints import Endpoint, serve
from sync_stores import SESSIONS, add_sessions

from kaizen_analytics.store import Store
from kaizen_analytics.store.outbox import BatchState, list_batches
from kaizen_analytics.sync.delivery import configure
from kaizen_analytics.sync.settings import Settings

SEED = 20261123
KILLS = 6


def start_run(path: Path, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kaizen_analytics", "sync", "run", "--store", str(path)]
    environment = {**os.environ, "KAIZEN_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill_after(process: subprocess.Popen[bytes], endpoint: Endpoint, requests: int, pause_s: float) -> bool:
    """Kill a run once the endpoint has seen so many requests more; return whether it was still running."""
    wanted = len(endpoint.requests) + requests
    deadline = time.monotonic() + 60
    while len(endpoint.requests) < wanted and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(pause_s)
    was_running = process.poll() is None
    process.kill()
    process.communicate()
    return was_running


@pytest.mark.slow
def test_killed_at_random_points_every_row_arrives_once(store: Store, tmp_path: Path):
    rng = random.Random(SEED)
    with serve(Endpoint()) as endpoint:
        settings = Settings(url=endpoint.url, enabled=True, tables=("sessions", "metrics"), batch_rows=1)
        configure(store, settings, now_ms=1)
        store.close()
        killed = 0
        for round_ in range(KILLS):
            with Store.open(store.path) as opened:
                add_sessions(opened, range(SESSIONS + 4 * round_, SESSIONS + 4 * (round_ + 1)))
            run = start_run(store.path, tmp_path)
            killed += kill_after(run, endpoint, rng.randint(0, 6), rng.choice([0.0, 0.004, 0.02, 0.1, 0.6]))
        output, errors = start_run(store.path, tmp_path).communicate()
        assert b"rows acknowledged" in output, errors
    total = SESSIONS + 4 * KILLS
    rows = endpoint.rows()
    assert killed >= KILLS // 2, "most runs were still at work when they were killed"
    assert (len(rows), set(rows.values())) == (2 * total, {1})
    with Store.open(store.path) as opened:
        assert list_batches(opened, settings.url, BatchState.PENDING) == []
        assert opened.native("pragma integrity_check") == [("ok",)]
    keys = [key for key, _ in endpoint.requests]
    print(f"seed {SEED}: {killed} kills, {len(keys)} requests, {len(keys) - len(set(keys))} repeated, {len(rows)} rows")

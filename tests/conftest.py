"""An engine that several rooms' tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.exports.engines import SparkEngine


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkEngine]:
    """A Spark Connect server: the one that `KAIZEN_TEST_SPARK` names (sc://host:port), else Sail, in this process."""
    from kaizen_analytics.exports.engines import SparkEngine

    remote = os.environ.get("KAIZEN_TEST_SPARK")
    if remote is not None:
        yield SparkEngine(remote)
        return
    server = pytest.importorskip("pysail.spark").SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    yield SparkEngine(f"sc://{host}:{port}")
    server.stop()

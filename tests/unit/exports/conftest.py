"""A store whose every text is a canary: a word that no declared list holds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from canary_stores import fill_store

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.store import Store


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    return Redactor(Scanner(), Pseudonyms(bytes(range(32))))


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("canaries") / "kaizen.db"
    with Store.open(path, create=True, journal_mode="DELETE") as store:
        fill_store(store)
    return path


@pytest.fixture
def canary_store(_filled: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "kaizen.db"
    shutil.copyfile(_filled, path)
    with Store.open(path) as store:
        yield store

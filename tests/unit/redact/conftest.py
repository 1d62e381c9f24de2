"""A redactor with a fixed key, and the generators of `benchmarks/redaction_corpus.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    return Redactor(Scanner(), Pseudonyms(bytes(range(32))))

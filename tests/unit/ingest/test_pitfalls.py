"""docs/reference/ingestion.md promises a test for each pitfall."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "ingestion.md"


def test_each_pitfall_in_the_documentation_has_its_test():
    defined = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named = re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8"))

    assert len(named) > 40
    assert [name for name in named if name not in defined] == []


def test_each_reason_for_a_reject_is_documented():
    from kaizen_analytics.ingest.records import Reason

    text = PAGE.read_text(encoding="utf-8")

    assert [reason.value for reason in Reason if f"`{reason.value}`" not in text] == []

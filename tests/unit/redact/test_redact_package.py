from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kaizen_analytics.redact as package
from kaizen_analytics.redact import Scanner
from kaizen_analytics.redact.rules import load_rules
from kaizen_analytics.redact.spans import PLACEHOLDER, Category, render_placeholder

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", package.__all__)
def test_every_public_name_exists(name):
    assert getattr(package, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018 - the access is the test


def test_the_package_imports_nothing_heavy():
    code = "import sys, kaizen_analytics.redact; print({'numpy', 'polars', 'ahocorasick_rs'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "set()"


FILES = sorted(path.stem for path in (ROOT / "kaizen_analytics" / "redact" / "rules").glob("*.toml"))
RULES = [rule for name in FILES if name not in {"words", "patterns"} for rule in load_rules(name)]


def test_every_rule_has_keywords_a_source_and_its_own_id():
    assert all(keyword for rule in RULES for keyword in rule.keywords)
    assert [
        rule.id for rule in RULES if not rule.source or not (rule.keywords or rule.form in {"whole", "digits"})
    ] == []
    assert len({rule.id for rule in RULES}) == len(RULES) > 200


def test_the_package_imports_nothing_of_the_project_but_errors():
    texts = [path.read_text() for path in (ROOT / "kaizen_analytics" / "redact").glob("*.py")]
    imported = {name for text in texts for name in re.findall(r"from (kaizen_analytics[\w.]*) import", text)}
    others = {name for name in imported if not name.startswith("kaizen_analytics.redact")}
    assert others == {"kaizen_analytics.core.errors"}


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("pseudonym", [None, "0123456789"])
def test_a_placeholder_is_recognised_and_harmless(redactor, category, pseudonym):
    placeholder = render_placeholder(category, pseudonym)
    assert PLACEHOLDER.fullmatch(placeholder)
    for text in (
        b"password=%b;",
        b'"token": "%b"',
        b"https://%b@host/x",
        b"Authorization: Bearer %b",
        b"/home/%b/x",
        b"-u a:%b ",
    ):
        filled = text.replace(b"%b", placeholder)
        found = redactor.scanner.find(filled)
        overlapping = [f for f in found if f.start < filled.index(b">") and f.end > filled.index(b"<")]
        assert all(PLACEHOLDER.search(filled[f.start : f.end]) for f in overlapping)


def test_the_repository_holds_no_literal_secret():
    scanner = Scanner(tokens_only=True)
    paths = [*(ROOT / "kaizen_analytics" / "redact").rglob("*.*"), *(ROOT / "tests" / "unit" / "redact").glob("*.py")]
    paths.append(ROOT / "benchmarks" / "redaction_corpus.py")
    found = {path.name: scanner.find(path.read_bytes()) for path in paths}
    assert {name: findings for name, findings in found.items() if findings} == {}

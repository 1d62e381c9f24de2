"""Diffs that `git apply` takes, on files as people have them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.retro.classes import Change
from kaizen_analytics.retro.patch import is_applied, render_patch

LINE = Change(file="AGENTS.md", line="Run `make test`.")
SETTINGS = Change(file=".claude/settings.json", merge='{"permissions": {"allow": ["Bash(ls:*)"]}}')
BLOCK = "<!-- kaizen f-1 -->\n- Run `make test`.\n<!-- /kaizen f-1 -->\n"


def apply(change: Change, root: Path) -> None:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    patch = render_patch(change, "f-1", root)
    subprocess.run(["git", "-C", str(root), "apply", "--check"], input=patch.encode(), check=True)
    subprocess.run(["git", "-C", str(root), "apply"], input=patch.encode(), check=True)


@pytest.mark.parametrize(
    "before",
    [
        None,
        "",
        "# A\n",
        "# A",
        "# A\n\n- ü €\n",
        "a\r\nb\r\n",
        "a\r\nb",
        "a\rb\n",
        "a\x0cb\n",
        "a\u2028b\n",
        "\ufeff# A\n",
    ],
)
def test_a_line_is_added_after_what_is_there(tmp_path: Path, before: str | None):
    file = tmp_path / "AGENTS.md"
    if before is not None:
        file.write_bytes(before.encode())
    end = "\r\n" if "\r\n" in (before or "") else "\n"

    apply(LINE, tmp_path)

    assert file.read_bytes().decode().startswith(before or "")
    assert file.read_bytes().decode().endswith(BLOCK.replace("\n", end))
    assert render_patch(LINE, "f-1", tmp_path) == ""
    assert is_applied(LINE, "f-1", tmp_path)


def test_an_older_block_of_the_same_finding_is_replaced(tmp_path: Path):
    (tmp_path / "AGENTS.md").write_text(f"# A\n\n{BLOCK.replace('make test', 'make')}\n# B\n")

    apply(LINE, tmp_path)

    assert (tmp_path / "AGENTS.md").read_text() == f"# A\n\n{BLOCK}\n# B\n"


def test_the_file_that_the_repository_has_is_changed(tmp_path: Path):
    (tmp_path / "CLAUDE.md").write_text("# A\n")

    apply(LINE, tmp_path)

    assert not (tmp_path / "AGENTS.md").exists()
    assert BLOCK in (tmp_path / "CLAUDE.md").read_text()


def test_settings_keep_what_they_hold(tmp_path: Path):
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_text('{"model": "opus", "permissions": {"allow": ["Bash(make:*)"], "deny": ["Read(.env)"]}}')

    apply(SETTINGS, tmp_path)

    assert json.loads(file.read_text()) == {
        "model": "opus",
        "permissions": {"allow": ["Bash(make:*)", "Bash(ls:*)"], "deny": ["Read(.env)"]},
    }
    assert is_applied(SETTINGS, "f-1", tmp_path)


def test_settings_are_made_where_there_are_none(tmp_path: Path):
    apply(SETTINGS, tmp_path)

    assert json.loads((tmp_path / ".claude/settings.json").read_text()) == json.loads(SETTINGS.merge)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{\r\n    "a": 1\r\n}\r\n',
            '{\r\n    "a": 1,\r\n    "permissions": {\r\n        "allow": [\r\n            "Bash(ls:*)"',
        ),
        ('{\n\t"a": 1\n}', '{\n\t"a": 1,\n\t"permissions": {\n\t\t"allow": [\n\t\t\t"Bash(ls:*)"\n\t\t]\n\t}\n}'),
        ('\ufeff{"a": "ü"}\n', '\ufeff{\n  "a": "ü",\n  "permissions"'),
        ('{"permissions": null}', '{\n  "permissions": {\n    "allow"'),
    ],
)
def test_settings_keep_their_form(tmp_path: Path, before: str, after: str):
    file = tmp_path / ".claude" / "settings.json"
    file.parent.mkdir()
    file.write_bytes(before.encode())

    apply(SETTINGS, tmp_path)

    assert file.read_bytes().decode().startswith(after)
    assert file.read_bytes().endswith(b"}\r\n") == before.endswith("}\r\n")
    assert is_applied(SETTINGS, "f-1", tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not plain JSON"),
        ('{\n  // mine\n  "a": 1\n}', r'Add to it by hand: {"permissions": {"allow": \["Bash\(ls:\*\)"\]}}'),
        ("[]", "is not a JSON object"),
        ('{"permissions": {"allow": "all"}}', 'holds "all"'),
    ],
)
def test_settings_that_cannot_be_read_are_refused(tmp_path: Path, text: str, reason: str):
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude/settings.json").write_text(text)

    with pytest.raises(ConfigError, match=reason):
        render_patch(SETTINGS, "f-1", tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "AGENTS.md").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read as UTF-8"):
        render_patch(LINE, "f-1", tmp_path)

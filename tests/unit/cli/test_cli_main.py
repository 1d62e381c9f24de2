"""`main`: whatever goes wrong, the user reads one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.store.location import _slug

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["prices", "--store", "/"], 74, "is a directory"),
        (["import", "x" * 5000, "--store", "k.db"], 74, "File name too long"),
        (["doctor", "--store", "k.db", "--home", "x" * 5000], 74, "File name too long"),
        (["guidance", "--store", "k.db", "--days", "9" * 30], 2, "expected 1 to"),
        (["usage", "--store", "k.db", "--timezone", "\udcff"], 2, "no time zone"),
        (["notebooks", "copy", "file"], 74, "Not a directory"),
    ],
)
def test_what_the_system_or_a_check_refuses_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: Callable[..., Any],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAIZEN_STORE", "k.db")
    (tmp_path / "file").touch()
    program("init", "--store", "k.db")
    answer = program(*arguments)
    assert answer.code == code
    [line] = answer.err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert len(line) < 500


def test_a_mistake_of_this_program_is_one_line_and_code_1(tmp_path: Path) -> None:
    code = (
        "import sys; from kaizen_analytics import cli; cli.without_quiet = lambda given: 1 / 0;"
        " sys.argv = ['kaizen-analytics', 'prices']; cli.main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
    line = " ".join(ran.stderr.split())  # a long line is wrapped
    assert line.startswith("error: kaizen-analytics failed: ")
    assert "ZeroDivisionError: division by zero (<string>, line 1)" in line
    assert "please report it" in line


def test_a_folder_whose_name_is_no_utf_8_has_a_store_and_a_spelling(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    assert _slug(folder).endswith("-caf\N{REPLACEMENT CHARACTER}")
    assert normalise_folder(str(folder)).endswith("/caf\N{REPLACEMENT CHARACTER}")

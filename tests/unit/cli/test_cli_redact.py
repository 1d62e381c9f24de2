"""The command `redact`, from bytes to bytes."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass

import pytest

from kaizen_analytics.cli import main


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def redact(tmp_path, monkeypatch):
    (tmp_path / ".gitconfig").write_text(
        '[user]\n\tname = Zoe Kowal\n\temail = zoe@kowal.dev\n[remote "origin"]\n\turl = git@h:acmelabs/x.git\n'
    )
    for name, value in {"HOME": tmp_path, "KAIZEN_HOME": tmp_path / "kaizen", "USER": "zkowal"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)

    def run(text: bytes, *options: str) -> Result:
        said, errors = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        monkeypatch.setattr(sys, "argv", ["kaizen-analytics", "redact", *options])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text)), "utf-8"))
        monkeypatch.setattr(sys, "stdout", said)
        monkeypatch.setattr(sys, "stderr", errors)
        with pytest.raises(SystemExit) as stopped:
            main()
        errors.flush()
        return Result(int(stopped.value.code or 0), said.buffer.getvalue(), errors.buffer.getvalue())

    return run


def test_text_goes_in_and_comes_out_without_secrets(redact):
    result = redact(b'password="Xy7!abcd"\nplain\n')
    assert result.returncode == 0, result.stderr
    assert result.stdout == b'password="<R:kv>"\nplain\n'


def test_lines_are_kept_exactly(redact):
    raw = b'a\r\npassword="Xy7!abcd"\n\0x\n\nlast'
    assert redact(raw, "--lines").stdout == raw.replace(b"Xy7!abcd", b"<R:kv>")


@pytest.mark.parametrize("options", [(), ("--lines",)])
def test_any_bytes_go_in_and_text_comes_out(redact, options):
    raw = b"a \0 \xff \xed\xa0\x80 &#1; &#xFFFE; \x1b[31m\n" + bytes(range(256)) + b'\npassword="Xy7!abcd"\n'
    result = redact(raw, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout.decode("utf-8").endswith('\npassword="<R:kv>"\n')
    assert "\ufffd" in result.stdout.decode("utf-8")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_text_in_another_encoding_is_redacted_as_text(redact, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    raw = f'{mark}größe\npassword="Xy7!abcd"\n'.encode(encoding)
    for options in ((), ("--lines",)):
        assert redact(raw, *options).stdout.decode() == 'größe\npassword="<R:kv>"\n'


def test_pseudonyms_are_the_same_in_the_next_run(redact):
    first, second = redact(b"/home/maria/x"), redact(b"/Users/maria/y")
    assert first.stdout.split(b"/")[2] == second.stdout.split(b"/")[2]


def test_this_account_is_known(redact):
    result = redact(b"zkowal and Zoe Kowal of acmelabs")
    assert b"<R:us:" in result.stdout
    assert not any(word in result.stdout for word in (b"zkowal", b"Zoe", b"acmelabs"))


def test_json_is_one_document_or_one_for_each_line(redact):
    document = json.loads(redact(b'password="Xy7!abcd"', "--json").stdout)
    assert document == {"text": 'password="<R:kv>"', "counts": {"assignment": 1}}
    lines = redact(b'password="Xy7!abcd"\nplain\n', "--json", "--lines").stdout.splitlines()
    assert [json.loads(line)["counts"] for line in lines] == [{"assignment": 1}, {}]


def test_explain_names_places_and_kinds_but_no_values(redact):
    result = redact(b'plain\npassword="Xy7!abcd"\n', "--lines", "--explain")
    assert result.stderr.decode().splitlines() == ["line 2, bytes 10-18: assignment", "redacted 1 assignment"]


def test_a_key_that_is_no_key_is_an_error(redact, tmp_path):
    (tmp_path / "k").write_bytes(b"short")
    (tmp_path / "k").chmod(0o600)
    result = redact(b"x", "--key", str(tmp_path / "k"))
    assert result.returncode == 1
    assert b"holds 5 bytes; expected a key of 32" in result.stderr
    assert result.stdout == b""

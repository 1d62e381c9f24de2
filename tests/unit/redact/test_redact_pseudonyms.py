from __future__ import annotations

import os
import stat
import threading

import pytest

from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.redact import Pseudonyms, load_key


def test_a_key_is_made_once_and_only_for_its_owner(tmp_path):
    path = tmp_path / "home" / "pseudonyms.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["pseudonyms.key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    keys = []
    threads = [threading.Thread(target=lambda: keys.append(load_key(tmp_path / "k"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_key_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "k"
    load_key(path)
    path.chmod(0o644)
    with pytest.raises(RedactionError, match=r"mode 644.*chmod 600"):
        load_key(path)


def test_a_damaged_key_is_refused(tmp_path):
    path = tmp_path / "k"
    path.touch(mode=0o600)
    path.write_bytes(b"short")
    with pytest.raises(RedactionError, match="holds 5 bytes"):
        load_key(path)


def test_a_link_is_refused(tmp_path):
    load_key(tmp_path / "real")
    (tmp_path / "k").symlink_to(tmp_path / "real")
    with pytest.raises(RedactionError, match="no regular file"):
        load_key(tmp_path / "k")


def test_machines_that_share_a_key_share_pseudonyms():
    first, second, other = Pseudonyms(bytes(32)), Pseudonyms(bytes(32)), Pseudonyms(bytes(31) + b"x")
    assert first.name("us", b"maria") == second.name("us", b"Maria")
    assert first.name("us", b"maria") != other.name("us", b"maria")
    assert first.name("us", b"maria") != first.name("ho", b"maria")


def test_the_key_is_not_shown():
    assert "key" not in repr(Pseudonyms(bytes(32)))

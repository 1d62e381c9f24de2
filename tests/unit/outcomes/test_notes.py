"""Notes of git-ai: keys of every kind, and texts of any form."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.outcomes.survival import count_claimed, parse_note


def note(lines: str, document: object) -> bytes:
    return f"{lines}---\n{json.dumps(document)}".encode()


def test_sessions_and_older_prompts_are_known_and_people_are_not():
    agents = {name: {"agent_id": {"tool": "codex", "id": name.upper()}} for name in ("s_1", "abc")}
    document = {"sessions": {"s_1": agents["s_1"]}, "prompts": {"abc": agents["abc"]}, "humans": {"h_1": {}}}
    lines = "a b.py\n  s_1::t_4 1-2,9\n  abc 3\n  h_1 4-8\nc.py\n  h_1 1\n"
    claims = parse_note(note(lines, document))
    assert claims == {b"a b.py": [(1, 2, "S_1"), (9, 9, "S_1"), (3, 3, "ABC")]}
    assert count_claimed(claims) == {"S_1": 3, "ABC": 1}


def test_what_has_another_form_is_left_out():
    document = {"sessions": {"s_1": {"agent_id": {"id": 5}}, "s_2": None, "s_3": {"agent_id": {"id": "x"}}}}
    assert parse_note(note("a\n  s_1 1\n  s_2 1\n  s_3 all,x-2\n  s_4 1\n", document)) == {}
    assert parse_note(note("  s_3 1\n", document)) == {}, "no file"
    assert parse_note(b"a\n  s_3 1\n---\n[]") == parse_note(b"a\n  s_3 1\n---\n{") == parse_note(b"") == {}


@given(st.binary(max_size=60), st.recursive(st.none() | st.text(max_size=3), lambda one: st.lists(one, max_size=2)))
def test_any_text_can_be_read(lines: bytes, document: object):
    parse_note(lines + b"\n---\n" + json.dumps({"sessions": document, "prompts": {"a": document}}).encode())

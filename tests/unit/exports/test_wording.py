"""What a finding's sentences show, and what they do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.retro.wording import Wording

REDACTOR = Redactor(Scanner(), Pseudonyms(bytes(range(32))))
WORDING = Wording(redactor=REDACTOR, tracked=frozenset({"api/user.py", "docs/a b.md"}))


def test_tracked_files_and_common_tools_are_named():
    assert WORDING.sentence("`api/user.py` was edited up to 9 times in one session") == (
        "`api/user.py` was edited up to 9 times in one session"
    )
    assert WORDING.sentence("`git push` failed up to 3 times in a row") == ("`git push` failed up to 3 times in a row")


def test_other_names_become_stand_ins_that_stay_equal():
    first = WORDING.sentence("`/home/eva/x.py` was edited up to 9 times in one session")
    second = WORDING.sentence("`/home/eva/x.py` was edited up to 2 times in one session")
    assert first.split("`")[1] == second.split("`")[1]
    assert re.fullmatch(r"name-[0-9a-f]{10}\.py", first.split("`")[1])
    assert first.split("`")[2] == " was edited up to 9 times in one session"


def test_of_a_command_the_public_words_at_its_beginning_stay():
    text = WORDING.sentence("`git push acme git` failed up to 3 times in a row")
    assert re.fullmatch(r"`git push name-[0-9a-f]{10}` failed up to 3 times in a row", text)


@pytest.mark.parametrize("value", ["x.acme", "acme/.py.zip", "pytest/acme.internal"])
def test_an_ending_that_is_not_on_the_list_does_not_show(value: str):
    assert re.fullmatch(r"name-[0-9a-f]{10}", WORDING.value(value))


def test_a_sentence_with_an_open_backtick_is_a_stand_in_whole():
    assert WORDING.sentence("`a`b` was read whole").startswith("name-")


@pytest.mark.parametrize("value", ["AGENTS.md", "| head -50"])
def test_what_the_classes_themselves_name_stays(value: str):
    assert WORDING.sentence(f"Use `{value}`.") == f"Use `{value}`."


def test_sessions_are_shown_in_part_where_their_ids_are_random():
    assert WORDING.session("e6ff31e9-dfcd-4b1a-8f00-0123456789ab") == "e6ff31e9-dfcd"
    assert WORDING.session("evas-session-of-monday").startswith("name-")


def test_with_text_names_are_shown_and_people_are_not():
    wording = Wording(redactor=REDACTOR, with_text=True)
    text = wording.sentence("`/srv/plan.py` was edited by eva.muster@corp.io")
    assert text.startswith("`/srv/plan.py` was edited by <R:em:")


@settings(max_examples=50)
@given(value=st.text(st.characters(categories=("Ll",)), min_size=5, max_size=12))
def test_no_foreign_word_between_backticks_gets_through(value: str):
    foreign = f"{value}qz"
    for text in (f"`{foreign}` fails", f"`git {foreign}` fails", f"`git` fails, `{foreign}/x.py` works"):
        assert foreign not in WORDING.sentence(text)

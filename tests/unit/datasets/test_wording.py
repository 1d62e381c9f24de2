"""What a bet's sentences show, and what they do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen_analytics.datasets.wording import Wording, own_words
from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.retro.heuristics import load_heuristics

REDACTOR = Redactor(Scanner(), Pseudonyms(bytes(range(32))))
WORDING = Wording(redactor=REDACTOR, tracked=frozenset({"api/user.py", "docs/a b.md"}))


def test_tracked_files_and_common_tools_are_named():
    assert WORDING.sentence("`api/user.py` was edited up to 9 times in one session", "H3") == (
        "`api/user.py` was edited up to 9 times in one session"
    )
    assert WORDING.sentence("`git push` failed up to 3 times in a row", "H10") == (
        "`git push` failed up to 3 times in a row"
    )


def test_other_names_become_stand_ins_that_stay_equal():
    first = WORDING.sentence("`/home/eva/x.py` was edited up to 9 times in one session", "H3")
    second = WORDING.sentence("`/home/eva/x.py` was edited up to 2 times in one session", "H3")
    assert first.split("`")[1] == second.split("`")[1]
    assert re.fullmatch(r"name-[0-9a-f]{10}\.py", first.split("`")[1])
    assert first.split("`")[2] == " was edited up to 9 times in one session"


def test_of_a_command_the_public_words_at_its_beginning_stay():
    text = WORDING.sentence("`git push acme git` failed up to 3 times in a row", "H10")
    assert re.fullmatch(r"`git push name-[0-9a-f]{10}` failed up to 3 times in a row", text)


@pytest.mark.parametrize("value", ["x.acme", "acme/.py.zip", "pytest/acme.internal"])
def test_an_ending_that_is_not_on_the_list_does_not_show(value: str):
    assert re.fullmatch(r"name-[0-9a-f]{10}", WORDING.value(value))


@pytest.mark.parametrize(
    "text",
    ["`a`b` was edited up to 9 times in one session", "`a` secretword `b` was edited up to 9 times in one session"],
)
def test_a_sentence_that_is_not_our_wording_is_a_stand_in_whole(text: str):
    assert WORDING.sentence(text, "H3").startswith("name-")


def test_a_bet_of_a_heuristic_that_is_gone_is_a_stand_in():
    assert WORDING.sentence("Agents waited for `build`", "H99").startswith("name-")
    assert WORDING.bet_id("H99:acme").startswith("H99:name-")


@pytest.mark.parametrize(
    ("identity", "shown"),
    [("H36:pause", "H36:pause"), ("H3:api/user.py", "H3:api/user.py"), ("H33:pytest", "H33:pytest")],
)
def test_ids_of_public_things_stay_as_they_are(identity: str, shown: str):
    assert WORDING.bet_id(identity) == shown


def test_each_part_of_an_id_is_looked_at():
    shown = WORDING.bet_id("H2:api/user.py|private/plan.ts")
    assert shown.startswith("H2:api/user.py|name-")


def test_sessions_are_shown_in_part_where_their_ids_are_random():
    assert WORDING.session("e6ff31e9-dfcd-4b1a-8f00-0123456789ab") == "e6ff31e9-dfcd"
    assert WORDING.session("evas-session-of-monday").startswith("name-")


def test_with_text_names_are_shown_and_people_are_not():
    wording = Wording(redactor=REDACTOR, with_text=True)
    text = wording.sentence("`/srv/plan.py` was edited by eva.muster@corp.io", "H3")
    assert text.startswith("`/srv/plan.py` was edited by <R:em:")


@pytest.mark.parametrize("heuristic", [one.id for one in load_heuristics()])
@settings(max_examples=5)
@given(value=st.text(st.characters(categories=("Ll",)), min_size=5, max_size=12))
def test_no_heuristic_lets_a_foreign_word_through(heuristic: str, value: str):
    if value in own_words(heuristic):
        return
    foreign = f"{value}qz"
    for text in (f"`{foreign}` fails", f"{foreign} fails", f"1 {foreign}(s) `git`", f"`git` {foreign}: `git`"):
        assert foreign not in WORDING.sentence(text, heuristic)


@pytest.mark.parametrize(
    ("heuristic", "text"),
    [
        ("H16", "Run both side by side as an experiment: `kaizen-analytics exp new --from-bet H16:a|b`."),
        ("H16", "over 9 sessions. This is an association: tasks may differ as well."),
        ("H11", "One session cost $1.20, 9 times the mean"),
        ("H3", "Agents return to the file instead of finishing it: 9 edits in 1 session. It may be too large"),
        ("H36", "2,589,886 cached tokens were lost during pauses"),
    ],
)
def test_our_own_sentences_stay(heuristic: str, text: str):
    assert WORDING.sentence(text, heuristic).partition("`")[0] == text.partition("`")[0]

"""Which session owns a record: forks, gateways' ids, copies of a session, sessions in several files."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from ingest_lines import (
    answer,
    begun,
    call,
    claude_file,
    codex,
    codex_file,
    counts,
    lines,
    meta,
    prompt,
    result,
    rows,
    token_count,
    turn,
    usage,
)

from kaizen_analytics.ingest.pipeline import run_ingest


def responses(store):
    return dict(rows(store, "select session_id, count(*) from events where tokens_out is not null group by 1"))


def turns(stem, *at_s):
    return [
        record
        for at in at_s
        for record in (
            prompt(f"p{at}", at, session=stem),
            answer(f"a{at}", at + 1, f"msg_01abcdefghijklmnop{at}", session=stem),
        )
    ]


@pytest.mark.parametrize("heads", [(begun,), (begun, begun)])
@pytest.mark.parametrize("names", [("original", "fork"), ("b", "a")])
@pytest.mark.parametrize("split", [False, True])
def test_an_original_that_goes_on_after_its_fork_keeps_its_records(store, home, heads, names, split):
    original, fork = names
    mode = {"type": "mode", "mode": "normal", "sessionId": fork}
    head = [mode, *(say(fork, 20 + n) for n, say in enumerate(heads))]
    files = {
        fork: lines(*head, *turns(fork, 1, 5), *turns(fork, 30)),
        original: lines(begun(original, 0), *turns(original, 1, 5), begun(original, 50), *turns(original, 60, 70)),
    }
    for stem, content in files.items():
        claude_file(home, stem, content)
        if split:
            run_ingest(store, [home])
    run_ingest(store, [home])

    assert responses(store) == {original: "4", fork: "1"}


@pytest.mark.parametrize("order", list(permutations(["s1", "f1", "f2"])))
def test_a_fork_of_a_fork_owns_what_it_wrote(store, home, order):
    files = {
        "s1": lines(begun("s1", 0), *turns("s1", 1), *turns("s1", 90)),
        "f1": lines(begun("f1", 10), *turns("f1", 1), *turns("f1", 11), *turns("f1", 80)),
        "f2": lines(begun("f2", 20), *turns("f2", 1, 11), *turns("f2", 21)),
    }
    for stem in order:
        claude_file(home, stem, files[stem])
        run_ingest(store, [home])

    assert responses(store) == {"s1": "2", "f1": "2", "f2": "1"}


@pytest.mark.parametrize("order", list(permutations(["f1", "f2"])))
@pytest.mark.parametrize("copied", [(1, 5), (1, 5, 11)])
@pytest.mark.parametrize("split", [False, True])
def test_of_two_forks_whose_original_is_gone_the_older_owns_its_records(store, home, order, copied, split):
    files = {
        "f1": lines(begun("f1", 10), *turns("f1", 1, 5), *turns("f1", 11), *turns("f1", 80)),
        "f2": lines(begun("f2", 20), *turns("f2", *copied), *turns("f2", 21)),
    }
    for stem in order:
        claude_file(home, stem, files[stem])
        if split:
            run_ingest(store, [home])
    run_ingest(store, [home])

    assert responses(store) == {"f1": "4", "f2": "1"}


@pytest.mark.parametrize("names", [("s1", "f1"), ("f1", "s1")])
def test_an_old_copy_of_a_fork_takes_nothing_from_the_original(store, home, tmp_path, names):
    original, fork = names  # of a build that tells no beginning of a file
    claude_file(home, original, lines(*turns(original, 1, 5, 20)))
    claude_file(home, fork, lines(*turns(fork, 1, 5, 30)))
    claude_file(tmp_path / "old", fork, lines(*turns(fork, 1)))

    run_ingest(store, [home, tmp_path / "old"])

    assert responses(store) == {original: "3", fork: "1"}


@pytest.mark.parametrize("name", ["{}.bak", "{} (1)", "backup-{}", "{}_old"])
@pytest.mark.parametrize("beside", [None, (1,), (1, 5, 9, 13)])
def test_a_copy_with_something_around_the_id_in_its_name_is_the_session(store, home, name, beside):
    session = "0c9d6e2a-1111-4111-8111-111111111111"
    for stem, share in {name.format(session): (1, 5, 9), session: beside}.items():
        if share:
            claude_file(home, stem, lines(*turns(session, *share)))
    run_ingest(store, [home])

    assert responses(store) == {session: str(max(3, len(beside or ())))}


@pytest.mark.parametrize("constant", ["gw", "chatcmpl-1", "msg_1", ""])
@pytest.mark.parametrize("request_ids", [False, True])
def test_responses_that_a_gateway_gives_the_same_id_are_told_apart(store, home, constant, request_ids):
    for stem in ("s1", "s2"):
        records = []
        for n in range(3):
            known = {"requestId": f"r{n}"} if request_ids else {}
            step = call("toolu_1", "Bash", command="ls")
            at = 10 * n
            records += [
                answer(f"{stem}a{n}", at, constant, session=stem, tokens=usage(100, 1), stop=None, **known),
                answer(f"{stem}b{n}", at + 1, constant, step, session=stem, tokens=usage(100, 7), **known),
                result(f"{stem}r{n}", at + 2, "toolu_1", session=stem),
            ]
        if constant == "":  # without an id, each line is a response
            records = [record for record in records if not record["uuid"].startswith(f"{stem}a")]
        claude_file(home, stem, lines(*records))

    summary = run_ingest(store, [home]).agents["claude_code"]

    assert responses(store) == {"s1": "3", "s2": "3"}
    assert (summary.tokens["tokens_out"], summary.tool_calls) == (42, 6)


def test_records_that_a_program_numbers_anew_in_each_file_are_told_apart(store, home):
    for at, stem in ((0, "s1"), (1000, "s2")):
        claude_file(home, stem, lines(prompt("1", at, session=stem), answer("2", at + 1, "gw", session=stem)))

    assert run_ingest(store, [home]).agents["claude_code"].prompts == 2
    assert responses(store) == {"s1": "1", "s2": "1"}


def test_lines_of_a_gateways_response_may_stand_around_a_result(store, home):
    first = answer("a", 1, "gw", call("c1", "Bash"), tokens=usage(100, 5))
    second = answer("b", 3, "gw", call("c2", "Bash"), tokens=usage(100, 9)) | {"parentUuid": "a"}
    claude_file(home, "s1", lines(first, result("r", 2, "c1"), second))

    run_ingest(store, [home])

    assert rows(store, "select tokens_out from events where tokens_out is not null") == [("9",)]


@pytest.mark.parametrize("shares", list(permutations([(1,), (1, 5), (1, 5, 9)])))
@pytest.mark.parametrize("split", [False, True])
def test_copies_of_a_session_in_several_folders_count_once(store, tmp_path, shares, split):
    homes = []
    for n, share in enumerate(shares):
        homes.append(tmp_path / f"home{n}")
        claude_file(homes[-1], "s1", lines(begun("s1", 0), *turns("s1", *share)))
        if split:
            run_ingest(store, [homes[-1]])
    if not split:
        run_ingest(store, homes)

    assert responses(store) == {"s1": "3"}
    assert rows(store, "select min(seq), max(seq), count(*) from events") == [("0", "5", "6")]
    summary = run_ingest(store, homes).agents["claude_code"]
    assert (summary.sessions, summary.responses) == (1, 3)


def test_two_copies_that_each_went_on_are_one_session(store, tmp_path):
    for name, later in (("a", 20), ("b", 30)):
        claude_file(tmp_path / name, "s1", lines(*turns("s1", 1, later)))

    run_ingest(store, [tmp_path / "a", tmp_path / "b"])

    assert responses(store) == {"s1": "3"}
    order = [at for (at,) in rows(store, "select ts_ms from events order by seq")]
    assert order == sorted(order)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_thread_in_pages_is_one_session_whatever_their_order(store, home, order):
    session = "01a03d4c-6ad5-7c61-8fb6-eb5c80d47252"
    pages = []
    for n in range(3):
        base = {"history_base": {"thread_id": session, "through_ordinal": 4 * n}} if n else {}
        asked = codex("event_msg", 100 * n + 1, type="user_message", message="go")
        told = token_count(100 * n + 2, counts(100 * (n + 1), 0, 10 * (n + 1), 0), counts(100, 0, 10, 0))
        pages.append(lines(meta(session, 100 * n, **base), turn(100 * n), asked, told))
    for n in order:
        tail = f"_01a03e6d-e4b7-7e02-b2d8-de3ee9c7b8e{n}" if n else ""
        codex_file(home, f"2026-09-09T09-0{n}-00-{session}{tail}", pages[n])
        run_ingest(store, [home])

    assert responses(store) == {session: "3"}
    assert rows(store, "select sum(tokens_in), sum(json_extract(payload, '$.prompt')) from events") == [("300", "3")]
    assert [at for (at,) in rows(store, "select ts_ms from events order by seq")] == sorted(
        at for (at,) in rows(store, "select ts_ms from events")
    )


def test_a_page_that_lies_in_the_archive_too_counts_once(store, home):
    content = lines(meta("c1"), turn(0), token_count(1, counts(100, 0, 10, 0), counts(100, 0, 10, 0)))
    codex_file(home, "c1", content)
    codex_file(home, "c1", content, folder="archived_sessions")
    codex_file(home, "c1", content, folder="sessions/2026/01/02")

    run_ingest(store, [home])

    assert responses(store) == {"c1": "1"}
    assert json.loads(rows(store, "select tally from ka_files where tally <> '{}'")[0][0])["responses"] == 1

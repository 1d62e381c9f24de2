"""Claude Code's own total of a session, and what it holds beyond the messages."""

from __future__ import annotations

import pytest
from ingest_lines import answer, claude_file, line, lines, prompt, rows, usage

from kaizen_analytics.ingest.pipeline import run_ingest

MODEL = "claude-sonnet-4-5-20250929"


def total(store):
    return [int(one) for one in rows(store, "select sum(tokens_in), sum(tokens_out) from events")[0]]


def booked(store):
    sql = "select tokens_in, tokens_out, cache_read_tokens from events where payload->>'not_in_messages'"
    return [tuple(int(one) for one in row) for row in rows(store, sql)]


def state(given, output, read=0, written=0, model=MODEL):
    counts = {"inputTokens": given, "outputTokens": output, "cacheReadInputTokens": read}
    used = {model: counts | {"cacheCreationInputTokens": written, "costUSD": 0.1}}
    return {"type": "cost-state", "sessionId": "s1", "totalCostUSD": 0.1, "modelUsage": used}


def turn(n, session="s1", tokens=None):
    return answer(
        f"{session}a{n}", n, f"msg_01abcdefghijklmn{session}{n}", session=session, tokens=tokens or usage(10, 5, 0, 0)
    )


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}[1m]"])
def test_what_an_own_total_holds_beyond_the_messages_is_booked_apart(store, home, name):
    claude_file(home, "s1", lines(prompt("p", 0), turn(1), turn(2), state(306, 126, 50, model=name)))

    summary = run_ingest(store, [home]).agents["claude_code"]

    assert booked(store) == [(286, 116, 50)]
    assert (total(store), summary.responses, summary.prompts) == ([306, 126], 2, 1)
    assert summary.cost_usd_e6 == round(306 * 3 + 126 * 15 + 50 * 0.3)


def test_a_model_with_and_without_a_long_context_is_one_in_a_total(store, home):
    both = state(200, 20, model=f"{MODEL}[1m]")["modelUsage"] | state(106, 106)["modelUsage"]
    claude_file(home, "s1", lines(prompt("p", 0), turn(1), state(0, 0) | {"modelUsage": both}))

    run_ingest(store, [home])

    assert booked(store) == [(296, 121, 0)]


def test_totals_that_the_messages_explain_book_nothing(store, home):
    claude_file(home, "s1", lines(turn(1), state(10, 5)))
    claude_file(home, "s2", lines(turn(3, "s2"), turn(4, "s2"), state(10, 5)))  # the second run was killed

    run_ingest(store, [home])

    assert booked(store) == []


def test_a_total_over_several_runs_is_the_last_one(store, home):
    path = claude_file(home, "s1", lines(turn(1), state(15, 5)))
    run_ingest(store, [home])
    assert booked(store) == [(5, 0, 0)]
    path.write_bytes(path.read_bytes() + lines(turn(2), state(40, 12)))
    run_ingest(store, [home])
    assert (booked(store), total(store)) == ([(20, 2, 0)], [40, 12])
    path.write_bytes(path.read_bytes() + line(turn(3)))  # a third run, still going on
    run_ingest(store, [home])
    assert (booked(store), total(store)) == ([(20, 2, 0)], [50, 17])


@pytest.mark.parametrize(("kept", "right"), [((10, 5), []), ((25, 9), [(15, 4, 0)])])
def test_a_total_includes_the_messages_that_a_file_lost(store, home, kept, right):
    path = claude_file(home, "s1", lines(turn(1), state(*kept)))
    run_ingest(store, [home])
    path.write_bytes(lines(turn(9), state(kept[0] + 10, kept[1] + 5)))  # overwritten on resume

    for full in (False, True):
        run_ingest(store, [home], full=full)
        assert (booked(store), total(store)) == (right, [kept[0] + 10, kept[1] + 5])


@pytest.mark.parametrize("order", ["parent", "child", "both"])
@pytest.mark.parametrize("last", [2, 9])
def test_a_total_includes_the_sub_agents(store, home, order, last):
    def parent():
        claude_file(home, "s1", lines(turn(1), turn(last), state(100, 50)))

    def child():
        told = [turn(n) | {"agentId": "agent-a"} for n in (3, 4)]
        for n, record in enumerate(told):
            record["uuid"], record["message"]["id"] = f"c{n}", f"msg_01abcdefghijklmnchild{n}"
        claude_file(home, "agent-a", lines(*told), slug="-work-demo/s1/subagents")

    for step in (child, parent) if order == "child" else (parent, child):
        step()
        if order != "both":
            run_ingest(store, [home])
    run_ingest(store, [home])

    assert booked(store) == [(60, 30, 0)]
    assert total(store) == [100, 50]
    assert rows(store, "select count(*) from sessions") == [("2",)]


@pytest.mark.parametrize("order", ["parent first", "fork first", "both"])
@pytest.mark.parametrize("goes_on", [False, True])
def test_a_forks_total_begins_with_what_its_parents_was_then(store, home, order, goes_on):
    begun = {"type": "queue-operation", "timestamp": turn(20)["timestamp"], "sessionId": "f1"}
    later = [turn(30), state(900, 90)] if goes_on else []
    parent = lines(turn(1), state(30, 5), *later)
    fork = lines(begun, *(record | {"sessionId": "f1"} for record in (turn(1), turn(21))), state(60, 10))

    for name, content in (("f1", fork), ("s1", parent)) if order == "fork first" else (("s1", parent), ("f1", fork)):
        claude_file(home, name, content)
        if order != "both":
            run_ingest(store, [home])
    run_ingest(store, [home])

    sql = "select session_id, tokens_in, tokens_out from events where payload->>'not_in_messages' order by 1"
    assert rows(store, sql) == [("f1", "20", "0"), ("s1", *(("880", "80") if goes_on else ("20", "0")))]


def test_a_fork_whose_parent_left_no_total_or_no_file_books_nothing(store, home):
    begun = {"type": "queue-operation", "timestamp": turn(20)["timestamp"], "sessionId": "f1"}
    fork = lines(begun, *(record | {"sessionId": "f1"} for record in (turn(1), turn(21))), state(60, 10))
    claude_file(home, "f1", fork)

    run_ingest(store, [home])
    assert booked(store) == []
    claude_file(home, "s1", lines(turn(1)))
    run_ingest(store, [home])
    assert booked(store) == []


def test_a_total_that_is_no_number_is_a_reject(store, home):
    claude_file(home, "s1", lines(turn(1), state("many", 5)))

    assert run_ingest(store, [home]).agents["claude_code"].rejects == {"wrong_type": 1}

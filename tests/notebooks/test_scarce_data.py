"""The notebooks for analysts on the sample and on stores that hold little: no cell fails, none is empty."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from pathlib import Path

import pytest
from rows import write_rows

from kaizen_analytics import Store, render_text
from kaizen_analytics.experiments.power import _MIN_HISTORY

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[345]0_*.ipynb"))
NO_SESSION = "The store holds no session yet; 'kaizen-analytics ingest --store PATH' reads some into it."
NO_PLAN = f"Planning needs at least {_MIN_HISTORY} past sessions with a value"
DAY_MS = 86_400_000


def make_store(path: Path, sessions: int, **answer: int | None) -> Path:
    """Write sessions of one agent, one a day; `answer` are the columns of the response that each of them holds."""
    names = [f"session-{number:02}" for number in range(sessions)]
    rows = [{"id": name, "agent": "codex", "started_at_ms": i * DAY_MS} for i, name in enumerate(names)]
    payload = json.dumps({"role": "assistant", "model": "gpt-5"})
    events = [{"session_id": row["id"], "ts_ms": row["started_at_ms"], "payload": payload, **answer} for row in rows]
    with Store.open(path, create=True) as store:
        if sessions:
            write_rows(store, rows, events)
    return path


def show(notebook: Path, store: Path) -> str:
    """Run the cells of a notebook as a kernel would and return what they show, as plain text."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    texts = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, notebook.name, "exec"), names)
            shown = None if last is None else eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)
        texts.append(printed.getvalue())
        if "parameters" in cell["metadata"].get("tags", ()):
            names["store"] = str(store)
        if shown is not None:
            own = getattr(shown, "_repr_mimebundle_", None)
            plain = render_text(shown) if own is None else own()[0]["text/plain"]
            assert plain.strip()
            assert not re.search(r"\b(None|nan|inf)\b", plain), plain
            texts.append(plain)
    return "\n".join(texts)


def show_all(store: Path) -> list[str]:
    return [show(notebook, store) for notebook in NOTEBOOKS]


@pytest.mark.long
@pytest.mark.usefixtures("few_simulations")
def test_the_sample_is_shown_in_every_section(sample_store: Path) -> None:
    assert [text for text in show_all(sample_store) if "no session" in text or "holds no" in text] == []


def test_without_a_session_every_section_says_so(tmp_path: Path) -> None:
    explored, designed, spent = show_all(make_store(tmp_path / "kaizen.db", 0))
    assert explored.count(NO_SESSION) == 3
    assert explored.count("No session tells how many tokens it used") == 3
    assert designed.count("There is no session to plan from") > 3
    assert "kaizen-analytics exp new" in designed
    assert spent.count("The store holds no response of a model yet") == 6


def test_one_session_without_tokens_is_told_from_none(tmp_path: Path) -> None:
    explored, designed, spent = show_all(make_store(tmp_path / "kaizen.db", 1))
    assert "Sessions: 1; with a number of tokens: 0." in explored
    assert "No session tells how many tokens it used" in explored
    assert "Sessions with a tokens_per_session in the last 21 days: 0." in designed
    assert designed.count(f"{NO_PLAN}, and found 0 in 21 days") > 3
    assert "The store holds no response of a model yet" in spent


@pytest.mark.usefixtures("few_simulations")
@pytest.mark.parametrize("sessions", [1, 24])
def test_sessions_of_one_agent_without_a_price(tmp_path: Path, sessions: int) -> None:
    store = make_store(tmp_path / "kaizen.db", sessions, tokens_in=1000, tokens_out=10)
    explored, designed, spent = show_all(store)
    assert "There is only one agent with tokens, codex, and so nothing to compare." in explored
    assert "No response has a cost." in spent
    assert "Sessions with a cost: 0." in spent
    assert (f"cost_per_session: {NO_PLAN}, and found 0 in 21 days" in designed) == (sessions >= _MIN_HISTORY)
    assert ("Tokens per session: deciding on any improvement" in designed) == (sessions >= _MIN_HISTORY)

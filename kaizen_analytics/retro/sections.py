"""The sections of a retro's report, each a function from a `Retro` to a block: HTML, Markdown and plain text at once.

The notebook `20_retro_summary` calls them in order, and so do `render_markdown` and `render_text`, whose output is
made to be pasted into a pull request or a chat. Every sentence is computed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaizen_analytics.display import Table
from kaizen_analytics.metrics import REGISTRY
from kaizen_analytics.model import Metric
from kaizen_analytics.reports import charts, components
from kaizen_analytics.reports.charts import Change, ForestRow
from kaizen_analytics.reports.components import Block, Mark, Tone
from kaizen_analytics.retro.earlier import Fate
from kaizen_analytics.retro.heuristics import Basis
from kaizen_analytics.retro.relations import describe_input
from kaizen_analytics.text import counted, escape_html, escape_markdown, escape_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kaizen_analytics.retro.bets import Bet
    from kaizen_analytics.retro.retro import ExperimentLine, Retro
    from kaizen_analytics.retro.tally import Row, Tally

SHOWN_SESSIONS = 5
SESSION_CHARS = 13
"""Enough to tell two sessions apart, also where ids begin with the time."""
SHOWN_FURTHER = 8
_NO_SESSION = (
    "If you expected some, read them with 'kaizen-analytics ingest', or take another window: "
    "'kaizen-analytics sessions list' says when the last sessions ran."
)

_MARKS = {
    Fate.ACTED_ON: Mark(tone=Tone.GOOD, text="acted on"),
    Fate.OPEN: Mark(tone=Tone.BAD, text="open"),
    Fate.FADED: Mark(tone=Tone.NEUTRAL, text="faded"),
    Fate.UNKNOWN: Mark(tone=Tone.UNCLEAR, text="unknown"),
}


def render_markdown(retro: Retro) -> str:
    """Return the whole retro as Markdown."""
    return _whole(retro).markdown + "\n"


def render_text(retro: Retro) -> str:
    """Return the whole retro as plain text."""
    return _whole(retro).plain + "\n"


def tabulate(retro: Retro) -> Table:
    """Return the bets as one small table, with the window in one line."""
    rows = [
        (
            bet.title.replace("`", ""),
            bet.confidence.value,
            compact(bet.tokens_saved_per_week),
            f"{bet.effort_minutes}",
            bet.apply_step.replace("`", ""),
        )
        for bet in retro.bets
    ]
    return Table(
        caption=f"Retro, {retro.label}, {retro.workspace or 'all workspaces'}",
        columns=("bet", "confidence", "tokens saved a week", "minutes of work", "what to do"),
        rows=tuple(rows),
        numeric=frozenset({2, 3}),
        sentences=(
            f"{describe_tally(retro.tally)}.",
            compare_tallies(retro.tally, retro.former_tallies),
            _describe_bets(retro),
        ),
    )


def heading(retro: Retro) -> Block:
    """Return the title."""
    where = retro.workspace or "all workspaces"
    return components.title(f"Retro, {retro.label}", f"{where} \u00b7 data as of {_time(retro.as_of_ms)}")


def tally(retro: Retro) -> Block:
    """Return the first box: the window in one line, against the windows before it."""
    now = retro.tally
    headline = describe_tally(now) if now.sessions else "No session started in this window"
    compared = components.paragraph(compare_tallies(now, retro.former_tallies))
    body = components.stack(compared, components.paragraph(_describe_bets(retro) if now.sessions else _NO_SESSION))
    return Block(
        html=f'<section class="callout neutral"><p class="headline">{escape_html(headline)}</p>{body.html}</section>',
        markdown=f"**{escape_markdown(headline)}**\n\n{body.markdown}",
        plain=f"{escape_plain(headline)}\n\n{body.plain}",
    )


def bets(retro: Retro) -> Block:
    """Return the bets that the retro makes, and the rest in one line each."""
    if not retro.bets:
        return components.paragraph(_no_bets(retro))
    cards = [_card(place, bet) for place, bet in enumerate(retro.bets, start=1)]
    return components.stack(*cards, _further(retro.choice.further))


def earlier(retro: Retro) -> Block:
    """Return what became of the bets of earlier retros."""
    if not retro.former_bets:
        return components.paragraph("No retro of the four weeks before this window made a bet.")
    rows = [(former.bet.title.replace("`", ""), _MARKS[former.fate], former.sentence) for former in retro.former_bets]
    return components.table(["bet", "state", "what happened"], rows, caption="Bets of earlier retros")


def experiments(retro: Retro) -> Block:
    """Return the experiments that run or concluded in the window, as a forest plot and in words."""
    if not retro.experiments:
        return components.paragraph("No experiment ran or concluded in this window.")
    drawn = [line for line in retro.experiments if line.estimate is not None]
    caption = "Percent change of each experiment's primary metric with its interval. Triangle up: better; down: worse."
    plot = components.figure(charts.forest([_forest_row(line) for line in drawn]), caption)
    rows = [
        (f"{line.name} ({line.state.lower()}; {_label(line.metric).lower()})", line.sentence)
        for line in retro.experiments
    ]
    words = components.table(["experiment", "what it shows"], rows, caption="Experiments")
    return components.stack(plot, words) if drawn else words


def spending(retro: Retro) -> Block:
    """Return sessions, tokens and cost by agent, model and day."""
    if not retro.tally.sessions:
        return components.paragraph("Without sessions there is nothing to add up.")
    breakdown = retro.breakdown
    return components.stack(
        _rows("agent", breakdown.agents), _rows("model", breakdown.models), _rows("day", breakdown.days)
    )


def usage(retro: Retro) -> Block:
    """Return the tools that were called most and the files that were edited most."""
    tools = [
        (tool.name, f"{tool.calls:,}", "\u2013" if tool.failed is None else f"{tool.failed:,}", f"{tool.sessions:,}")
        for tool in retro.breakdown.tools
    ]
    files = [(file.path, f"{file.edits:,}", f"{file.reads:,}", f"{file.sessions:,}") for file in retro.breakdown.files]
    return components.stack(
        _table(["tool or program", "calls", "failed", "sessions"], tools, "Most called", "No tool was called."),
        _table(["file", "edits", "reads", "sessions"], files, "Most edited", "No file was touched."),
    )


def quality(retro: Retro) -> Block:
    """Return what the numbers leave out, and which heuristics could not be asked."""
    return components.bullets([*_quality_sentences(retro), *_heuristic_sentences(retro)])


def provenance(retro: Retro) -> Block:
    """Return what the retro was computed from."""
    items = [("retro", retro.id), ("window", f"{_time(retro.window.start_ms)} to {_time(retro.window.end_ms)}")]
    items += [(name.replace("_", " "), str(value)) for name, value in retro.provenance.items() if value is not None]
    return components.facts(items)


def document(retro: Retro) -> Block:
    """Return the whole retro for `report.json`; it shows nothing."""
    return components.data(retro.to_json())


SECTIONS: tuple[tuple[str, Callable[[Retro], Block]], ...] = (
    ("Bets", bets),
    ("What happened to earlier bets", earlier),
    ("Experiments", experiments),
    ("Cost and tokens", spending),
    ("Tools and files", usage),
    ("Data quality", quality),
    ("Provenance", provenance),
)
"""The sections after the first box, in order."""


def section_title(text: str) -> Block:
    """Return the heading of a section."""
    return Block(html=f"<h2>{escape_html(text)}</h2>", markdown=f"## {text}", plain=f"{text}\n{'-' * len(text)}")


def describe_tally(now: Tally) -> str:
    """Return a window's totals in one line."""
    parts = [counted(now.sessions, "session")]
    if now.prompts is not None:
        parts.append(counted(now.prompts, "prompt"))
    parts.append("tokens unknown" if now.tokens is None else f"{compact(now.tokens)} new tokens")
    parts.append("cost unknown" if now.cost_usd is None else f"${now.cost_usd:,.2f}")
    return ", ".join(parts)


def compare_tallies(now: Tally, former: Sequence[Tally]) -> str:
    """Return how a window differs from the mean of the earlier ones that had sessions."""
    known = [one for one in former if one.sessions]
    if not known:
        return "There is no earlier window with sessions to compare with."
    changes = [
        _change("sessions", now.sessions, [one.sessions for one in known]),
        _change("tokens", now.tokens, [one.tokens for one in known]),
        _change("cost", now.cost_usd, [one.cost_usd for one in known]),
    ]
    told = [change for change in changes if change]
    windows = "the one earlier window" if len(known) == 1 else f"the mean of {len(known)} earlier windows"
    return f"Against {windows} with sessions: {', '.join(told) or 'nothing can be compared'}."


def compact(number: float) -> str:
    """Return a number with three significant digits and k, M or G, as in 1.29 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _whole(retro: Retro) -> Block:
    parts = [heading(retro), tally(retro)]
    for title, section in SECTIONS:
        parts += [section_title(title), section(retro)]
    return components.stack(*parts)


def _change(name: str, now: float | None, former: Sequence[float | None]) -> str | None:
    known = [value for value in former if value is not None]
    mean = sum(known) / len(known) if known else 0
    if now is None or not mean:
        return None
    percent = round(100 * (now / mean - 1))
    if percent == 0:
        return f"{name} unchanged"
    return f"{name} {'up' if percent > 0 else 'down'} {abs(percent)}\u00a0%"


def _describe_bets(retro: Retro) -> str:
    count = len(retro.bets)
    if count == 0:
        return "No bet this time."
    saved = sum(bet.tokens_saved_per_week for bet in retro.bets)
    return f"{counted(count, 'bet')}, which may save about {compact(saved)} tokens a week in all."


def _no_bets(retro: Retro) -> str:
    if not retro.tally.sessions:
        return "Without sessions there is nothing to bet on."
    asked = sum(1 for finding in retro.findings if finding.evaluated)
    repeated = len(retro.choice.repeated)
    known = f" {counted(repeated, 'finding')} had been a bet before and did not grow." if repeated else ""
    return f"{asked} of {len(retro.findings)} heuristics could be asked, and found nothing new.{known}"


def _card(place: int, bet: Bet) -> Block:
    facts = (
        f"{bet.confidence.value.capitalize()} confidence \u00b7 {bet.category.value} \u00b7 about {bet.effort_minutes} "
        f"minutes \u00b7 {_saving(bet)}"
    )
    return components.stack(
        _inline(bet.title, tag="h3", before=f"{place}. ", mark="### "),
        components.paragraph(facts, quiet=True),
        _inline(bet.hypothesis),
        _inline(bet.apply_step, label="Do."),
        _inline(_evidence(bet), label="Evidence."),
        _inline(f"`{bet.id}`", label="Id."),
    )


def _saving(bet: Bet) -> str:
    share = "" if bet.share_of_tokens is None else f", {100 * bet.share_of_tokens:.2g} % of what the window used"
    basis = "measured" if bet.basis is Basis.MEASURED else "estimate"
    return f"saves about {compact(bet.tokens_saved_per_week)} tokens a week ({basis}{share})"


def _evidence(bet: Bet) -> str:
    if not bet.evidence:
        return "No session used it." if bet.heuristic == "H1" else "The files on disk."
    shown = ", ".join(f"`{session[:SESSION_CHARS]}`" for session in bet.evidence[:SHOWN_SESSIONS])
    rest = len(bet.evidence) - SHOWN_SESSIONS
    more = f" and {rest} more" if rest > 0 else ""
    return f"{'Session' if len(bet.evidence) == 1 else 'Sessions'} {shown}{more}."


def _further(others: Sequence[Bet]) -> Block:
    if not others:
        return components.nothing()
    rows = [
        (bet.title.replace("`", ""), compact(bet.tokens_saved_per_week), f"{bet.effort_minutes}")
        for bet in others[:SHOWN_FURTHER]
    ]
    rest = len(others) - SHOWN_FURTHER
    caption = "Also found" + (f" ({rest} more in the JSON)" if rest > 0 else "")
    return components.table(
        ["finding", "tokens saved a week", "minutes of work"], rows, caption=caption, numeric=(1, 2)
    )


def _forest_row(line: ExperimentLine) -> ForestRow:
    return ForestRow(
        label=f"{line.name} ({line.state.lower()})",
        change=_direction(line),
        estimate=line.estimate or 0.0,
        low=float("-inf") if line.low is None else line.low,
        high=float("inf") if line.high is None else line.high,
    )


def _direction(line: ExperimentLine) -> Change:
    if line.low is not None and line.low > 0:
        return Change.WORSE if line.is_lower_better else Change.BETTER
    if line.high is not None and line.high < 0:
        return Change.BETTER if line.is_lower_better else Change.WORSE
    return Change.UNCLEAR


def _rows(name: str, rows: Iterable[Row]) -> Block:
    cells = [
        (
            row.name,
            f"{row.sessions:,}",
            "\u2013" if row.tokens is None else compact(row.tokens),
            "\u2013" if row.cost_usd is None else f"${row.cost_usd:,.2f}",
        )
        for row in rows
    ]
    return _table([name, "sessions", "new tokens", "cost"], cells, f"By {name}", f"No sessions by {name}.")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str, empty: str) -> Block:
    if not rows:
        return components.paragraph(empty)
    return components.table(columns, rows, caption=caption, numeric=range(1, len(columns)))


def _quality_sentences(retro: Retro) -> list[str]:
    found, sessions = retro.quality, retro.tally.sessions
    inside = f", with {counted(found.sub_agents, 'sub-agent')} inside them" if found.sub_agents else ""
    sentences = [f"{counted(sessions, 'session')} {'counts' if sessions == 1 else 'count'}{inside}."]
    if found.sessions_without_tokens:
        sentences.append(f"{found.sessions_without_tokens} of {sessions} sessions do not tell their tokens.")
    if found.sessions_without_cost:
        unpriced = (
            f" ({counted(found.unpriced_responses, 'response')} without a price)" if found.unpriced_responses else ""
        )
        sentences.append(
            f"{found.sessions_without_cost} of {sessions} sessions have no cost{unpriced}; sums leave them out."
        )
    if found.unreliable_responses:
        sentences.append(
            f"{found.unreliable_responses:,} of {found.responses:,} responses report too few output tokens, because "
            "the agent did not record their end.",
        )
    return sentences


def _heuristic_sentences(retro: Retro) -> list[str]:
    asked = [finding for finding in retro.findings if finding.evaluated]
    silent = [finding.heuristic.id for finding in asked if finding.rows.is_empty()]
    sentences = [
        f"{len(asked)} of {len(retro.findings)} heuristics were evaluated; {len(asked) - len(silent)} found something."
    ]
    missing: dict[str, list[str]] = {}
    for finding in retro.findings:
        if not finding.evaluated:
            words = " and ".join(dict.fromkeys(describe_input(need) for need in finding.missing))
            missing.setdefault(words, []).append(finding.heuristic.id)
    if missing:
        told = "; ".join(f"no {words} ({', '.join(ids)})" for words, ids in missing.items())
        sentences.append(f"Not evaluated: {told}.")
    return sentences


def _label(metric: str) -> str:
    return REGISTRY[Metric(metric)].label


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _inline(text: str, *, label: str = "", tag: str = "p", before: str = "", mark: str = "") -> Block:
    """Return one line of text whose `code` stays code; all of it but `before` and Markdown's `mark` is escaped."""
    pieces = [(place % 2 == 1, piece) for place, piece in enumerate(text.split("`")) if piece]
    head = f"<strong>{escape_html(label)}</strong> " if label else ""
    bold = f"**{escape_markdown(label)}** " if label else ""
    plain = "".join(escape_plain(piece) for _, piece in pieces)
    return Block(
        html=f'<{tag} dir="auto">{before}{head}{"".join(_html_piece(*piece) for piece in pieces)}</{tag}>',
        markdown=f"{mark}{before}{bold}{''.join(_markdown_piece(*piece) for piece in pieces)}",
        plain=f"{before}{f'{label} ' if label else ''}{plain}",
    )


def _html_piece(is_code: bool, text: str) -> str:  # noqa: FBT001
    return f"<code>{escape_html(text)}</code>" if is_code else escape_html(text)


def _markdown_piece(is_code: bool, text: str) -> str:  # noqa: FBT001
    if is_code:
        return f"`{escape_plain(text)}`"
    # escape_markdown takes its text for a whole line: it trims, and escapes what would open a list.
    return escape_markdown(f"x{text}x")[1:-1]

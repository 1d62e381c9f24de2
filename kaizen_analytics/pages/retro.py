"""The sections of a retro's report, each a function from a `Retro` to a block: HTML, Markdown and plain text at once.

The notebook `20_retro_summary` calls them in order, and so does `page`, whose Markdown and text are made to be pasted
into a pull request or a chat. Every sentence is computed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Window
from kaizen_analytics.core.words import capitalised, counted, format_day, format_minute, format_p_value, listed
from kaizen_analytics.pages import blocks, charts, plans, sentences
from kaizen_analytics.pages.blocks import Block, Mark, Tone
from kaizen_analytics.pages.charts import ForestRow
from kaizen_analytics.pages.documents import retro_document
from kaizen_analytics.retro.followup import Followed, Standing
from kaizen_analytics.retro.retro import Retro, describe_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.retro.classes import Change
    from kaizen_analytics.retro.findings import Finding

_SHOWN_CARDS, _SHOWN_FINDINGS = 3, 10
_CARD_CHARS = 160
_ABOUT_COSTS = (
    "USD is what the sessions would not have cost without the problem. "
    "Two findings can count the same token, so the costs do not add up."
)
_NO_SESSION = (
    "If you expected some, read them with 'kaizen-analytics ingest', or take another window: "
    "'kaizen-analytics sessions list' says when the last sessions ran."
)
_TONES = {Standing.APPLIED: Tone.GOOD, Standing.PROPOSED: Tone.UNCLEAR}


def whole(retro: Retro) -> Block:
    """Return everything that a retro says, as one block.

    >>> whole(retro).markdown.startswith("# Retro, week 2026-W38")
    True
    """
    return blocks.stack(*page(retro))


def page(retro: Retro) -> list[Block]:
    """Return the title, the first box and every section with its heading.

    >>> len(page(retro)) == 2 + 2 * len(_SECTIONS)
    True
    """
    parts = [part for name, section in _SECTIONS for part in (blocks.section(name), section(retro))]
    return [heading(retro), totals(retro), *parts]


def summarise(retro: Retro) -> Block:
    """Return the findings as one small table; in a terminal, the whole retro.

    >>> summarise(retro).plain.splitlines()[0]
    'Retro, week 2026-W38'
    """
    told = blocks.paragraph(f"{describe_totals(retro)}. {_describe_findings(retro)}")
    shown = blocks.stack(_table(retro.findings, f"Retro, {retro.label}"), told) if retro.findings else told
    return Block(html=shown.html, markdown=shown.markdown, parts=whole(retro).parts)


def heading(retro: Retro) -> Block:
    """Return the title.

    >>> heading(retro).plain.splitlines()[0]
    'Retro, week 2026-W38'
    """
    where = retro.repository or "all repositories"
    return blocks.title(f"Retro, {retro.label}", f"{where} \u00b7 data as of {format_minute(retro.as_of_ms)}")


def totals(retro: Retro) -> Block:
    """Return the first box: the window in one line, and the first finding of up to three classes with what to do.

    >>> totals(retro).plain.splitlines()[0].startswith("115 sessions")
    True
    """
    headline = describe_totals(retro) if retro.totals.sessions else "No session started in this window"
    told = _describe_findings(retro) if retro.totals.sessions else _NO_SESSION
    first = {one.kind: one for one in reversed(retro.findings)}
    shown = [one for one in retro.findings if first[one.kind] is one][:_SHOWN_CARDS]
    return blocks.callout(
        Tone.NEUTRAL,
        headline,
        blocks.paragraph(told),
        *(_card(number, one, retro) for number, one in enumerate(shown, 1)),
        _next_step(shown, len(retro.findings) - len(shown)),
    )


def findings(retro: Retro) -> Block:
    """Return the findings in one line each.

    >>> "start-context" in findings(retro).plain
    True
    """
    if not retro.findings:
        return blocks.paragraph("None.")
    left = len(retro.findings) - _SHOWN_FINDINGS
    more = f"; '--format json' lists {left} more" if left > 0 else ""
    return blocks.stack(
        _table(
            retro.findings[:_SHOWN_FINDINGS],
            f"'kaizen-analytics retro show ID' tells more, '... show ID --patch' prints the diff{more}",
        ),
        blocks.paragraph(_ABOUT_COSTS, quiet=True),
    )


def show(finding: Finding) -> Block:
    """Return everything about one finding.

    >>> show  # doctest: +ELLIPSIS
    <function show at ...>
    """
    tokens = "" if finding.tokens is None else f" ({finding.tokens:,} tokens)"
    cost = "Its cost is not known." if finding.cost_usd is None else f"It cost ${finding.cost_usd:,.2f}{tokens}."
    facts = [
        ("id", finding.id),
        ("repository", finding.repository),
        ("seen", finding.seen),
        ("cost in the window", cost),
        ("saves", finding.saving),
        ("test", finding.test),
        ("most recently", _proof(finding) or "not enough days before the last quarter of the window to tell"),
        ("new", {True: "yes", False: "no", None: "no weeks before to compare with"}[finding.is_new]),
    ]
    moments = [
        blocks.paragraph(moment.text, label=f"{moment.session_id}, event {moment.seq}, {format_minute(moment.ts_ms)}:")
        for moment in finding.evidence
    ]
    return blocks.stack(
        blocks.subheading(finding.title, code=True),
        blocks.facts(facts),
        blocks.paragraph(describe_change(finding.change), label="Do:", code=True),
        blocks.paragraph("The latest moments; 'kaizen-analytics sessions show SESSION' lists a session's events."),
        *moments,
    )


def followed(retro: Retro) -> Block:
    """Return what became of earlier findings, and what earlier versions proposed.

    >>> followed(retro).plain
    'No earlier retro of this store found anything.'
    """
    if not retro.followed and not retro.former_bets:
        return blocks.paragraph("No earlier retro of this store found anything.")
    rows = [(one.title.replace("`", ""), _mark(one, retro), describe_followed(one)) for one in retro.followed]
    table = blocks.table(["finding", "state", "seen since"], rows, caption="Earlier findings") if rows else Block()
    return blocks.stack(table, _former(retro))


def _mark(one: Followed, retro: Retro) -> Mark:
    """Return how far a finding has come; of one that was decided, what the experiment says to do."""
    made = next((line.decision for line in retro.experiments if one.note == f"experiment {line.id}"), None)
    if one.standing is Standing.DECIDED and made is not None:
        return Mark(tone=charts.TONES[made.headline], text=f"decided: {made.headline.value.replace('_', ' ')}")
    return Mark(tone=_TONES.get(one.standing, Tone.NEUTRAL), text=one.standing.value)


def experiments(retro: Retro) -> Block:
    """Return the experiments that run or concluded in the window, as a forest plot and in words.

    >>> "Do not decide yet" in experiments(retro).plain
    True
    """
    if not retro.experiments:
        return blocks.paragraph("No experiment ran or concluded in this window.")
    rows = [
        (
            f"{line.name} ({line.state.lower()}; {REGISTRY[line.metric].label.lower()})",
            "\u2013" if (made := line.decision) is None else plans.grade_name(made.grade, exploratory=made.exploratory),
            sentences.experiment(line),
        )
        for line in retro.experiments
    ]
    told = blocks.stack(
        *(blocks.paragraph(f"{capitalised(design)}. {shown}", label=f"{name}.") for name, design, shown in rows)
    )
    words = replace(blocks.table(["experiment", "design", "what it shows"], rows), parts=told.parts)
    drawn = [
        ForestRow.of(f"{line.name} ({line.state.lower()})", line.percent, charts.CHANGES[line.decision.headline])
        for line in retro.experiments
        if line.percent is not None and line.decision is not None
    ]
    if not drawn:
        return words
    caption = "Percent change of each experiment's primary metric with its interval. The mark is the decision."
    figure = blocks.figure(charts.forest(drawn), caption)
    # In text, the table says it all.
    return replace(words, html=blocks.stack(figure, words).html)


def unknown(retro: Retro) -> Block:
    """Return what the numbers leave out, and which classes of findings could not be evaluated.

    >>> "could not be evaluated" in unknown(retro).plain
    True
    """
    return blocks.bullets(list_unknown(retro))


def provenance(retro: Retro) -> Block:
    """Return what the retro was computed from.

    >>> "fingerprint" in provenance(retro).plain
    True
    """
    start, end = format_minute(retro.window.start_ms), format_minute(retro.window.end_ms)
    items = [("retro", retro.id), ("window", f"{start} to {end}, days of {retro.timezone}")]
    items += [(name.replace("_", " "), str(value)) for name, value in retro.provenance.items() if value is not None]
    return blocks.facts(items)


def document(retro: Retro) -> Block:
    """Return the whole retro for `report.json`; it shows nothing.

    >>> document(retro).plain
    ''
    """
    return Block(data=retro_document(retro))


_SECTIONS: tuple[tuple[str, Callable[[Retro], Block]], ...] = (
    ("What to change", findings),
    ("What came of earlier findings", followed),
    ("Experiments", experiments),
    ("What is not known", unknown),
    ("Where the numbers come from", provenance),
)
"""The sections after the first box, in order."""


def describe_totals(retro: Retro) -> str:
    """Return a window's totals in one line.

    >>> describe_totals(retro).partition(",")[0]
    '115 sessions'
    """
    found = retro.totals
    cost = "cost unknown" if found.cost_usd is None else f"${found.cost_usd:,.2f}"
    known = found.responses - found.unpriced_responses
    share = f" for {100 * known / found.responses:.0f}\u00a0% of the responses" if found.unpriced_responses else ""
    return f"{counted(found.sessions, 'session')}, {counted(found.prompts, 'prompt')}, {cost}{share}"


def describe_change(change: Change) -> str:
    """Return what to do, with code between backticks.

    >>> from kaizen_analytics.retro.classes import Change
    >>> describe_change(Change(file="AGENTS.md", line="Run `make`."))
    'add to `AGENTS.md`: Run `make`.'
    """
    if change.habit:
        return change.habit
    if change.line:
        return f"add to `{change.file}`: {change.line}"
    if '"hooks"' in change.merge:
        return f"add a hook to `{change.file}`; the diff has it"
    return f"set in `{change.file}`: `{change.merge}`"


def describe_followed(one: Followed) -> str:
    """Return how often a finding was seen since its change was applied or it was made, against the rate before.

    >>> from kaizen_analytics.retro.followup import Followed
    >>> words = {"id": "f", "kind": "k", "repository": "/w", "title": "t", "note": "commit 1a"}
    >>> counts = {"since_ms": 0, "hit": 0, "exposed": 31, "former_hit": 8, "former_exposed": 27}
    >>> describe_followed(Followed(**words, **counts, standing=Standing.APPLIED, expected=9.2, p_value=0.0001))
    '0 of 31 sessions since 1 January 1970 (commit 1a); 9.2 expected at the former rate, p = 0.0001'
    """
    note = f" ({one.note})" if one.note else ""
    since = f"since {format_day(one.since_ms)}{note}"
    if not one.exposed:
        return f"no session was exposed {since}"
    told = f"{one.hit} of {counted(one.exposed, 'session')} {since}"
    if one.expected is None:
        return told
    return f"{told}; {one.expected:.1f} expected at the former rate, p = {format_p_value(one.p_value)}"


def list_unknown(retro: Retro) -> list[str]:
    """Return what the numbers leave out, one sentence each.

    >>> len(list_unknown(retro))
    1
    """
    found = retro.totals
    told = []
    if found.sub_agents:
        told.append(f"{counted(found.sub_agents, 'sub-agent')} count with the sessions that started them.")
    if found.orphans:
        told.append(f"{counted(found.orphans, 'sub-agent')} count nowhere: their parents are missing.")
    if found.unpriced_responses:
        told.append(f"{counted(found.unpriced_responses, 'response')} without a price; sums leave them out.")
    missing = sorted(retro.not_evaluable, key=lambda item: (item.reason, item.kind))
    if retro.repository is None and missing:
        told.append(
            f"Some classes of findings could not be evaluated in some repositories ({len(missing)} in all); the JSON "
            "gives the reasons."
        )
        missing = []
    for reason, group in groupby(missing, key=lambda item: item.reason):
        told.append(f"Not evaluable, because {reason}: {listed([item.kind.replace('_', ' ') for item in group])}.")
    return told or ["Nothing is left out."]


def _describe_findings(retro: Retro) -> str:
    found = retro.findings
    if not found:
        return "Nothing recurs that is worth a change."
    new = sum(1 for one in found if one.is_new)
    fresh = f", {new} new in the last week" if new else ""
    first = ", the costliest first" if len(found) > 1 else ""
    return f"{counted(len(found), 'change')} worth making{first}{fresh}."


def _next_step(shown: list[Finding], left: int) -> Block:
    patches = [
        f"`kaizen-analytics retro show {one.id} --patch` prints change {number} as a diff."
        for number, one in enumerate(shown, 1)
        if one.change.file
    ]
    told = [*patches[:1], *([f"The other {left} are below."] if left > 1 else [])]
    return blocks.paragraph(" ".join(told), code=True) if told else Block()


def _card(number: int, finding: Finding, retro: Retro) -> Block:
    where = f" in `{finding.repository}`" if retro.repository is None else ""
    cost = "" if finding.cost_usd is None else f", avoidable cost ${finding.cost_usd:,.2f}"
    seen = f"{finding.sessions} of {counted(finding.exposed, 'session')}{cost}{where}."
    title = finding.title.replace("`", "")
    told = f"{seen} Do: {_shorten(describe_change(finding.change))}"
    return blocks.paragraph(told, label=f"{number}. {title if title.endswith('?') else f'{title}.'}", code=True)


def _shorten(text: str) -> str:
    """Return the beginning of a text that is too long for a card, cut between words and outside of code."""
    words = text.split(" ")
    while len(" ".join(words)) > _CARD_CHARS or " ".join(words).count("`") % 2:
        words.pop()
    short = " ".join(words)
    return short if short == text else f"{short.rstrip(' ,;:.')} \u2026"


def _proof(finding: Finding) -> str:
    """Return what the last days show, which had no part in choosing the finding."""
    proof, weekly = finding.proof, _weekly(finding)
    if proof is None or not proof.exposed:
        return ""
    seen = f"in the last {counted(proof.days, 'day')}: {proof.hit} of {counted(proof.exposed, 'session')}"
    return f"{seen}{weekly} or more" if weekly else seen


def _weekly(finding: Finding) -> str:
    cost = finding.usd_per_week or 0.0
    return f", ${cost:,.2f} a week" if cost >= 0.005 else ""


def _table(found: tuple[Finding, ...], caption: str) -> Block:
    folders = _name_folders({one.repository for one in found})
    proven = next((one.proof for one in found if one.proof is not None), None)
    columns = ["finding", "sessions", "USD", *([] if proven is None else [f"last {counted(proven.days, 'day')}"]), "id"]
    rows = [
        (
            one.title.replace("`", "") + folders[one.repository],
            f"{one.sessions} of {one.exposed}",
            "\u2013" if one.cost_usd is None else f"{one.cost_usd:,.2f}",
            *([] if proven is None else [_recently(one)]),
            one.id,
        )
        for one in found
    ]
    return blocks.table(columns, rows, caption=caption, numeric=(1, 2))


def _recently(one: Finding) -> str:
    if one.proof is None or not one.proof.exposed:
        return "\u2013"
    return f"{one.proof.hit} of {one.proof.exposed}{_weekly(one)}"


def _name_folders(repositories: set[str]) -> dict[str, str]:
    """Return what a title needs behind it to say which of several repositories it is about."""
    if len(repositories) < 2:
        return dict.fromkeys(repositories, "")
    names = Counter(PurePath(one).name for one in repositories)
    return {one: f" ({one if names[PurePath(one).name] > 1 else PurePath(one).name})" for one in repositories}


def _former(retro: Retro) -> Block:
    if not retro.former_bets:
        return Block()
    windows = [Window(start_ms=bet.window_start_ms, end_ms=bet.window_end_ms) for bet in retro.former_bets]
    titles = [bet.title.replace("`", "") for bet in retro.former_bets]
    rows = list(zip(map(describe_window, windows), titles, strict=True))
    return blocks.table(["window", "what it proposed"], rows, caption="Bets of former versions, which are not followed")

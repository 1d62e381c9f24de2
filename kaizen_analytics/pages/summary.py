"""Results in short: a block for the end of a notebook's cell, and the box that a terminal shows of an evaluation.

`register` tells IPython about them, so that results need not know how they look.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.words import (
    counted,
    format_change,
    format_given,
    format_moment,
    format_number,
    format_p_value,
    format_percent,
    format_points,
    format_share,
    join_lines,
)
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.portfolio import Portfolio, PortfolioLine
from kaizen_analytics.experiments.power import PowerRow, PowerTable, lies_beyond
from kaizen_analytics.pages import blocks, charts, conclusion, effect_text, retro, sentences
from kaizen_analytics.pages.blocks import Block, Tone
from kaizen_analytics.retro.retro import Retro
from kaizen_analytics.stats import Effect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_WIDTH = 100
_COLOURS = {Tone.GOOD: "32", Tone.BAD: "31", Tone.UNCLEAR: "33", Tone.NEUTRAL: "1"}
"""The colour of a decision on a terminal; only what was drawn by lot is green or red."""
_LABEL_WIDTH = 11
_NONE = "none"


def render_box(evaluation: Evaluation, width: int | None = None, *, colour: bool = False) -> str:
    """Return the evaluation as a box of at most `width` (and 100) columns, and below it what to do; no newline ends it.

    With `colour`, the decision has its colour, for a terminal.

    >>> print(render_box(evaluation).splitlines()[1].strip("│ ").partition(". ")[0])
    Decision   Do not decide yet: the success metric may or may not have improved.
    """
    width = min(width or _WIDTH, _WIDTH)
    inner = width - 4
    paint = _COLOURS[charts.TONES[evaluation.decision.headline]] if colour else ""
    body, below = [], []
    for label, text in conclusion.entries(evaluation):
        if label == "Next":
            below += _advise(text, width)
            continue
        lines = [line.ljust(inner) for line in _wrap(label, text, inner)]
        painted = paint and label == "Decision"
        body += [f"│ \x1b[{paint}m{line}\x1b[0m │" if painted else f"│ {line} │" for line in lines]
    title = f" {join_lines(evaluation.experiment.name)} ({evaluation.experiment.id}) "
    title = textwrap.shorten(title, inner - 2, placeholder="... ")
    top = f"┌─ {title.strip()} ".ljust(width - 1, "─") + "┐"
    box = "\n".join([top, *body, "└" + "─" * (width - 2) + "┘", *below])
    return box.replace("\N{NO-BREAK SPACE}", " ")  # which had to keep a percent sign beside its number until here


def _summarise_effect(effect: Effect) -> Block:
    """Return both arms, the difference and the percent change, with the sentence and the notes below."""
    footer = (
        f"p value {format_p_value(effect.p_value)}, effective alpha {format_p_value(effect.alpha)}, "
        f"{effect.design.kind.value} design"
    )
    told = [effect_text.effect(effect), *effect_text.notes(effect), footer]
    return blocks.stack(tabulate_effect(effect), _paragraphs(told))


def tabulate_effect(effect: Effect) -> Block:
    """Return the estimates of both arms, of the difference and of the percent change, with their intervals.

    >>> from kaizen_analytics.stats import median_effect
    >>> tabulate_effect(median_effect([1, 2, 3, 4, 5], [2, 3, 4, 5, 6])).plain.splitlines()[0]
    'The typical session (median), treatment against control'
    """
    share = effect.kind.is_share
    level = format_share if share else format_number
    rows = [
        (f"control (n = {effect.control.n:,})", effect.control.interval, level),
        (f"treatment (n = {effect.treatment.n:,})", effect.treatment.interval, level),
        ("difference", effect.difference, format_points if share else format_number),
        ("percent change", effect.percent, format_change),
    ]
    cells = [
        (name, *([_NONE] * 3 if found is None else map(form, (found.estimate, found.low, found.high))))
        for name, found, form in rows
    ]
    return blocks.table(
        ["", "estimate", "low", "high"],
        cells,
        caption=f"{effect_text.NOUNS[effect.kind]}, treatment against control",
        numeric=(1, 2, 3),
    )


def _summarise_evaluation(evaluation: Evaluation) -> Block:
    """Return the decision with every metric that was compared, the primary metric first; in a terminal, the box."""
    experiment = evaluation.experiment
    name = f"{experiment.name} ({experiment.id}, {experiment.state.value.lower()})"
    told = [(label, text) for label, text in conclusion.entries(evaluation) if label not in {"Effect", "Interval"}]
    shown = blocks.stack(blocks.subheading(name), blocks.facts(told), conclusion.metric_table(evaluation))
    return Block(html=shown.html, markdown=shown.markdown, parts=[render_box(evaluation)])


def _summarise_portfolio(portfolio: Portfolio) -> Block:
    """Return one row for each experiment, the best outcome first."""
    lines = blocks.table(
        ["experiment", "state", "decision", "change", "target"],
        [_portfolio_row(line) for line in portfolio.lines],
        caption=f"{counted(len(portfolio.lines), 'experiment')} as of {format_moment(portfolio.as_of_ms)}",
        numeric=(3, 4),
    )
    told = (
        f"{len(portfolio.left_open)} left open past the end, {len(portfolio.running_out)} running out of time, "
        f"{len(portfolio.underpowered)} too small for the target, {portfolio.archived} archived."
    )
    return blocks.stack(lines, blocks.paragraph(told))


def _summarise_power(table: PowerTable) -> Block:
    """Return what it takes to prove changes of several sizes."""
    wanted = format_given(100 * table.power)
    label = REGISTRY[table.metric].label
    goal = f"a change of {format_given(table.target_pct)}" if table.target_pct else "any improvement"
    dated = table.after_days is not None
    per_arm = [] if dated else [f"per arm for {wanted}"]
    chance = f"right in {table.after_days if dated else table.days} days"
    rows = blocks.table(
        ["true change", chance, "range", *per_arm, f"days for {wanted}" if dated else "days"],
        [_power_row(row, table) for row in table.rows],
        caption=f"{label}: deciding on {goal} (level {format_given(100 * table.alpha)}, "
        f"{'before/after' if dated else table.design.value} design)",
        numeric=range(1, 4 if dated else 5),
    )
    rate = f"{table.per_day:.1f} sessions a day come in, for both arms together."
    return blocks.stack(rows, _paragraphs([sentences.power(table), sentences.power_scope(table), rate]))


_BLOCKS: dict[type, Callable[[Any], Block]] = {
    Effect: _summarise_effect,
    Evaluation: _summarise_evaluation,
    Portfolio: _summarise_portfolio,
    PowerTable: _summarise_power,
    Retro: retro.summarise,
}


def render_text(result: object) -> str:
    """Return an `Effect`, `Evaluation`, `Portfolio`, `PowerTable` or `Retro` as plain text for a terminal.

    >>> from kaizen_analytics.stats import median_effect
    >>> render_text(median_effect([1, 2, 3, 4, 5], [2, 3, 4, 5, 6])).splitlines()[0]
    'The typical session (median), treatment against control'
    """
    return summarise(result).plain


def summarise(result: object) -> Block:
    """Return the same as a block.

    >>> summarise(power_table).plain == render_text(power_table)
    True
    """
    return _BLOCKS[type(result)](result)


def register() -> None:
    """Show results as tables in the IPython shell that runs, if one does.

    >>> register()  # does nothing outside of a notebook
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        for kind, summarise in _BLOCKS.items():
            shell.display_formatter.mimebundle_formatter.for_type(kind, _bundler(summarise))


def _bundler(summarise: Callable[[Any], Block]) -> Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]:
    return lambda result: summarise(result)._repr_mimebundle_()


def _paragraphs(texts: Iterable[str]) -> Block:
    """Return one paragraph for each text; in a terminal, one line."""
    found = [blocks.paragraph(text) for text in texts]
    return replace(blocks.stack(*found), parts=["\n".join(block.plain for block in found)])


def _portfolio_row(line: PortfolioLine) -> tuple[str, ...]:
    change = _NONE if line.percent is None else format_change(line.percent.estimate)
    target = _NONE if line.target_pct is None else format_given(line.target_pct)
    decision = line.problem or "not started"
    if line.decision is not None and line.verdict is not None:
        decision = sentences.headline(line.decision, line.verdict)
    return line.name, line.state.value.lower(), decision, change, target


def _power_row(row: PowerRow, table: PowerTable) -> tuple[str, ...]:
    chance = format_percent(100 * row.probability)
    limits = f"{100 * row.low:.0f} to {format_percent(100 * row.high)}"
    cells = format_given(row.true_pct), chance, limits
    if row.days is None:
        why = "out of reach" if lies_beyond(row.true_pct, table.target_pct) else "not beyond the target"
        return *cells, why, *([] if table.after_days is not None else [""])
    if row.n_per_arm is None or row.n_low is None or row.n_high is None:
        return *cells, f"{row.days:,}"
    return *cells, f"{row.n_per_arm:,} ({100 * row.n_low:.0f} to {format_percent(100 * row.n_high)})", f"{row.days:,}"


def _advise(text: str, width: int) -> list[str]:
    """Return an action on as many lines as it needs; a command among them can be copied as it stands."""
    words, colon, command = text.partition(": kaizen-analytics ")
    lines = textwrap.wrap(f"Next: {words}{colon[:1]}", width, break_long_words=False, break_on_hyphens=False)
    if not command:
        return lines
    lines.append("  kaizen-analytics")
    for word in shlex.split(command):
        if len(f"{lines[-1]} {shlex.quote(word)} \\") > width:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += f" {shlex.quote(word)}"
    return lines


def _wrap(label: str, text: str, width: int) -> list[str]:
    head = label.ljust(_LABEL_WIDTH)
    return textwrap.wrap(head + text, width, subsequent_indent=" " * _LABEL_WIDTH, break_on_hyphens=False) or [head]

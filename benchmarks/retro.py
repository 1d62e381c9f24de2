"""What retros find in a store, how that was judged, and what they call new where sessions are dealt to weeks at random.

    python -m benchmarks.retro STORE [PAGE]

Writes the figures of docs/reference/retro-evidence.md between its markers. It names classes and counts, nothing of the
store. Judgements and the problems that were found by hand lie beside it (`retro_judgements.toml`,
`retro_problems.toml`).
"""

from __future__ import annotations

import hashlib
import math
import random
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from benchmarks.measure import ROOT
from benchmarks.tables import write_figures
from kaizen_analytics.core.model import Window
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.retro.classes import CLASSES, KINDS
from kaizen_analytics.retro.findings import (
    WEEK_MS,
    Finding,
    collect_evidence,
    fisher_p_value,
    judge_evidence,
    list_exposures,
    list_moments,
)
from kaizen_analytics.retro.material import Material, read_material
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = ROOT / "docs" / "reference" / "retro-evidence.md"
DEALS, WEEKS = 12, 6
ALPHA = 0.05
ALL = Window(start_ms=0, end_ms=4_102_444_800_000)


@dataclass(frozen=True)
class Found:
    """A finding in the window in which it was seen most, and the root sessions of all windows that it was found in."""

    finding: Finding
    roots: frozenset[str]


def find_all(material: Material) -> dict[str, Found]:
    """Return the findings of every 28-day window that ends with a week of the material, each where it was seen most."""
    evidence = collect_evidence(material)
    days = material.sessions["root_started_at_ms"] // DAY_MS
    found: dict[str, Found] = {}
    for end in range(days.min() + 28, days.max() + 35, 7):
        window = Window(start_ms=(end - 28) * DAY_MS, end_ms=end * DAY_MS)
        for finding in judge_evidence(evidence, window)[0]:
            rows = list_moments(evidence, KINDS[finding.kind], finding.repository, finding.subject, window)
            known = found.get(finding.id, Found(finding, frozenset()))
            most = max(known.finding, finding, key=lambda one: one.times)
            found[finding.id] = Found(most, known.roots | frozenset(rows["root_id"]))
    return found


def deal(material: Material, luck: random.Random) -> Material:
    """Return the material with every root session moved into a week drawn at random."""
    starts = dict(material.sessions.select("root_id", "root_started_at_ms").iter_rows())
    moves = {
        root: 1000 * WEEK_MS + luck.randrange(WEEKS) * WEEK_MS + start % WEEK_MS - start
        for root, start in starts.items()
    }
    shift = pl.col("root_id").replace_strict(moves, return_dtype=pl.Int64)
    moved = {
        name: getattr(material, name).with_columns(pl.col("ts_ms") + shift)
        for name in ("responses", "calls", "prompts", "errors")
    }
    columns = ("started_at_ms", "root_started_at_ms")
    sessions = material.sessions.with_columns(pl.col(name) + shift for name in columns)
    return replace(material, sessions=sessions, **moved)


def count_chance(material: Material) -> tuple[list[int], int, int]:
    """Return, under chance: the new findings of each week, the findings followed, and those said to have changed."""
    first = 1000 * WEEK_MS
    middle = first + WEEKS // 2 * WEEK_MS
    new: list[int] = []
    followed = changed = 0
    for number in range(DEALS):
        evidence = collect_evidence(deal(material, random.Random(number)))
        for week in range(2, WEEKS + 1):
            end_ms = first + week * WEEK_MS
            found, _ = judge_evidence(evidence, Window(start_ms=end_ms - 4 * WEEK_MS, end_ms=end_ms))
            new.append(sum(1 for finding in found if finding.is_new))
            if end_ms != middle:
                continue
            for finding in found:
                kind = KINDS[finding.kind]
                exposed = list_exposures(evidence.material, kind, finding.repository)
                rows = list_moments(evidence, kind, finding.repository, finding.subject)
                hit = exposed.join(rows.select("root_id").unique(), on="root_id", how="semi")
                after = pl.col("root_started_at_ms") >= middle
                sizes = [frame.filter(part).height for part in (after, ~after) for frame in (hit, exposed)]
                followed += 1
                changed += fisher_p_value(sizes[2], sizes[3], sizes[0], sizes[1]) < ALPHA
    return new, followed, changed


def render(material: Material) -> str:
    """Return the figures as Markdown."""
    found = find_all(material)
    where = (
        f"{material.sessions['root_id'].n_unique()} sessions of {material.sessions['repository'].n_unique()} folders."
    )
    parts = (where, list_judged(found), list_classes(found), list_problems(found, material), describe_chance(material))
    return "\n\n".join(parts)


def list_judged(found: Mapping[str, Found]) -> str:
    """Return every finding with how it was judged, and how many are true and worth acting on.

    Raises:
        SystemExit: a finding was not judged yet.
    """
    judged = {row["id"]: row for row in read_rows("retro_judgements.toml", "finding")}
    if missing := sorted(found.keys() - judged.keys()):
        sys.exit(f"Judge these findings in benchmarks/retro_judgements.toml first: {', '.join(missing)}")
    counts = Counter(judged[name]["judgement"] for name in found)
    share = f"{100 * counts['act'] / len(found):.0f} %; at least 80 % is wanted"
    lines = [
        (
            f"{len(found)} findings: {counts['act']} true and worth acting on ({share}), {counts['true']} true, "
            f"{counts['false']} false (none is wanted)."
        ),
        "",
        "| finding | times | sessions | USD in its window | judged | because |",
        "|---|---:|---:|---:|---|---|",
    ]
    for name, one in sorted(found.items(), key=lambda item: (-(item[1].finding.cost_usd or 0.0), item[0])):
        finding, row = one.finding, judged[name]
        cost = "\u2013" if finding.cost_usd is None else f"{finding.cost_usd:,.2f}"
        hit = f"{finding.sessions} of {finding.exposed}"
        words = {"act": "true, act", "true": "true", "false": "false"}[row["judgement"]]
        lines.append(f"| `{name}` | {finding.times} | {hit} | {cost} | {words} | {row['because']} |")
    return "\n".join(lines)


def list_classes(found: Mapping[str, Found]) -> str:
    """Return what each class found."""
    by_kind: defaultdict[str, list[Finding]] = defaultdict(list)
    for one in found.values():
        by_kind[one.finding.kind].append(one.finding)
    head = ["| class | findings | times | sessions | USD in its window |", "|---|---:|---:|---:|---:|"]
    return "\n".join([*head, *(_row(kind.name, by_kind[kind.name]) for kind in CLASSES)])


def list_problems(found: Mapping[str, Found], material: Material) -> str:
    """Return the problems that were found by hand, with the findings that name each in its session."""
    company = find_company(material)
    lines = ["| session | problem, found by hand | named by |", "|---|---|---|"]
    problems = _match(found, "problem")
    checks = _match(found, "check")
    for problem, names in (*problems, *checks):
        told = ", ".join(f"`{name}`" for name in sorted(names)) or "\u2013"
        lines.append(f"| `{problem['session']}` | {problem['what']} | {told} |")
    among = [(problem, names) for problem, names in problems if problem["session"] in company]
    told = (
        f"{_share(problems)} of the ten sessions are named (at least 60 % is wanted). What happens in one session "
        "alone is no finding: of those in sessions that have three others of their repository within 28 days, "
        f"{_share(among)} are named. Of four other sessions, for which no class was made, {_share(checks)} are named."
    )
    return "\n".join([told, "", *lines])


def _match(found: Mapping[str, Found], key: str) -> list[tuple[dict[str, str], list[str]]]:
    problems = read_rows("retro_problems.toml", key)
    return [(problem, [name for name, one in found.items() if _names(one, problem)]) for problem in problems]


def _share(problems: list[tuple[dict[str, str], list[str]]]) -> str:
    named = sum(1 for _, names in problems if names)
    return f"{named} of {len(problems)} problems ({100 * named / len(problems):.0f} %)"


def find_company(material: Material) -> frozenset[str]:
    """Return the sessions, as the problems name them, that have three others of their repository within 28 days."""
    roots = material.sessions.filter(pl.col("session_id") == pl.col("root_id"))
    apart = (pl.col("root_started_at_ms") - pl.col("root_started_at_ms_other")).abs()
    near = roots.join(roots, on="repository", suffix="_other").filter(apart < 28 * DAY_MS)
    counted = near.group_by("root_id").len().filter(pl.col("len") >= 4)
    return frozenset(hashlib.sha256(root.encode()).hexdigest()[:8] for root in counted["root_id"])


def _names(one: Found, problem: Mapping[str, str]) -> bool:
    """Return whether a finding is of the problem's kind and was seen in its session."""
    alike = one.finding.kind == problem["kind"] and one.finding.subject.startswith(problem.get("subject", ""))
    return alike and any(hashlib.sha256(root.encode()).hexdigest().startswith(problem["session"]) for root in one.roots)


def describe_chance(material: Material) -> str:
    """Return what chance alone would have called new and changed."""
    new, followed, changed = count_chance(material)
    mean = sum(new) / len(new)
    error = math.sqrt(sum((count - mean) ** 2 for count in new) / (len(new) - 1) / len(new))
    share = changed / followed if followed else 0.0
    return (
        f"Chance: {DEALS} times, every session was moved into one of {WEEKS} weeks at random. {mean:.2f} findings a "
        f"week were called new (Monte Carlo error {error:.2f}; at most 0.3 is wanted). Of {followed} findings "
        f"that were followed from the middle on, {100 * share:.1f} % were said to have become rarer (p < {ALPHA}; at "
        "most 5 % is wanted)."
    )


def read_rows(name: str, key: str) -> list[dict[str, str]]:
    """Return the rows of a file beside this one."""
    return list(tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))[key])


def _row(kind: str, found: list[Finding]) -> str:
    costs = [finding.cost_usd for finding in found if finding.cost_usd is not None]
    counts = (len(found), sum(one.times for one in found), sum(one.sessions for one in found))
    cells = (kind.replace("_", " "), *map(str, counts), f"{sum(costs):,.2f}" if costs else "\u2013")
    return f"| {' | '.join(cells)} |"


def main(store: Path, page: Path) -> None:
    """Write the figures of a store into a page."""
    with Store.open(store, read_only=True) as opened:
        figures = render(read_material(opened, ALL))
    write_figures(page, figures)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE)

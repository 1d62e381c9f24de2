"""Findings: what went wrong again and again in one repository, what it cost, and the change that would end it.

    collect_evidence   every class's rows, from material
    judge_evidence     the findings of a window

A finding was seen at least 3 times, in at least 2 sessions, on at least 2 days of the window. Each class is one query
in `sql/retro/` that lists the moments, and one function in `classes` that judges and words them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from math import comb
from types import MappingProxyType
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from kaizen_analytics import redact  # its parts are loaded when they are used
from kaizen_analytics.core.errors import QueryError
from kaizen_analytics.core.model import Window
from kaizen_analytics.core.queries import Query, Schema, columns, find_parameters
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.core.words import counted
from kaizen_analytics.retro.classes import CLASSES, Change, FindingClass, Group, name_instructions
from kaizen_analytics.retro.material import Material, started_in
from kaizen_analytics.store.sql import define_frame, run_query
from kaizen_analytics.usage import known_sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


_MIN_TIMES, _MIN_SESSIONS, _MIN_DAYS = 3, 2, 2
"""How often, in how many sessions and on how many days (UTC) something must be seen to be a finding."""
_MIN_SHARE = 0.003
"""The share of the repository's cost in the window below which a finding is not worth a change."""
_LARGE_CHARS = 8_000
"""Characters from which an output or a file is large: about 2,000 tokens."""
_SHOWN_MOMENTS = 5
_ALPHA = 0.05

_FOREVER_MS = 4_102_444_800_000
WEEK_MS = 7 * DAY_MS

_UNITS: Schema = {"usd": pl.Float64(), "tokens": pl.Int64()}

_EVIDENCE: Schema = {
    **columns(text="session_id subject detail", whole="seq ts_ms tokens", number="cost_usd"),
    "remedy": pl.List(pl.String()),
}
"""What every class's query returns: one row per moment that a reader can open."""

_SHARED = MappingProxyType({"paced_responses": "retro/paced_responses.sql"})
"""What the queries of several classes read."""

_CALL_COSTS: Schema = {
    "session_id": pl.String(),
    "seq": pl.Int64(),
    "answer_seq": pl.Int64(),
    "answer_calls": pl.Int64(),
    **{f"{what}_{unit}": kind for what in ("reread", "carried", "answer", "wasted") for unit, kind in _UNITS.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """One place in a transcript: `sessions show SESSION` lists its events by `seq`."""

    session_id: str
    seq: int
    ts_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proof:
    """What the last quarter of a window shows of a finding that the days before it had shown already.

    These `days` had no part in choosing the finding: that makes `hit` of `exposed` sessions, and the finding's cost a
    week, free of that choice.
    """

    days: int
    hit: int
    exposed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that recurs, costs something and comes with a change.

    `cost_usd` and `tokens` are sums over the window, None where nobody knows them. `sessions` of `exposed` sessions
    were hit; `exposure` says what exposed means. `is_new`: whether the last week had more of it than all weeks before;
    None without weeks before. `proof` and `usd_per_week`, the lower end of the 95 % interval of the cost a week, are of
    the last quarter of the window; None where the first three quarters alone do not show the finding.
    """

    id: str
    kind: str
    repository: str
    subject: str
    title: str
    seen: str
    times: int
    sessions: int
    days: int
    exposed: int
    exposure: str
    cost_usd: float | None
    tokens: int | None
    usd_per_week: float | None
    saving: str
    test: str
    change: Change
    evidence: tuple[_Moment, ...]
    is_new: bool | None
    proof: _Proof | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEvaluable:
    """A class of findings that a repository's sessions say nothing about, and what they lack."""

    kind: str
    repository: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What every class's query found in some material, by the class's name, and the material."""

    rows: Mapping[str, pl.DataFrame]
    material: Material


class _Frames:
    """Runs queries over frames; the same shape as `Store.read`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        try:
            return run_query(self._connection, sql, parameters).pl()
        except duckdb.Error as error:
            raise QueryError(f"A query over the retro's frames failed: {error}") from error


def collect_evidence(material: Material, kinds: Sequence[FindingClass] = CLASSES) -> Evidence:
    """Return the moments of every class, or of some.

    Raises:
        QueryError: a query is broken.

    >>> from kaizen_analytics.retro.material import read_material
    >>> evidence = collect_evidence(read_material(store, Window(start_ms=0, end_ms=1)))
    >>> evidence.rows["wrong_command"].height
    0
    """
    # One thread: the order of additions, and with it the last digit of a sum, must not vary between two runs.
    with duckdb.connect(config={"threads": 1, "enable_external_access": False}) as connection:
        for name, frame in material.relations().items():
            define_frame(connection, name, frame)
        reader = _Frames(connection)
        costs = Query(path="retro/call_costs.sql", schema=_CALL_COSTS).run(reader)
        define_frame(connection, "calls", material.calls.join(costs, on=["session_id", "seq"], how="left"))
        owners = material.sessions.select("session_id", "root_id", "repository")
        rows = {}
        for kind in kinds:
            query = Query(path=f"retro/{kind.query or kind.name}.sql", schema=_EVIDENCE, reads=_SHARED)
            given = {"large_chars": _LARGE_CHARS} if "large_chars" in find_parameters(query.text()) else {}
            found = query.run(reader, **given).sort("ts_ms", "session_id", "seq", "subject")
            rows[kind.name] = found.join(owners, on="session_id")
        return Evidence(rows=rows, material=material)


def judge_evidence(evidence: Evidence, window: Window) -> tuple[tuple[Finding, ...], tuple[NotEvaluable, ...]]:
    """Return the findings of a window, and the classes that could not be evaluated.

    They are put in order by what they cost at least on the first three quarters of the window. What they cost a week is
    counted on its last quarter, which had no part in that choice.

    Args:
        evidence: The moments of a span that ends with the window; what lies before it tells whether a finding is new.
        window: Findings are moments of the sessions that started in it.

    >>> from kaizen_analytics.retro.material import read_material
    >>> window = Window(start_ms=0, end_ms=1)
    >>> judge_evidence(collect_evidence(read_material(store, window)), window)
    ((), ())
    """
    found: list[Finding] = []
    missing: list[NotEvaluable] = []
    for repository in sorted(evidence.material.sessions.filter(started_in(window))["repository"].unique()):
        for kind in (one for one in CLASSES if one.name in evidence.rows):
            if list_exposures(evidence.material, kind, repository, window).is_empty():
                missing.append(NotEvaluable(kind=kind.name, repository=repository, reason=kind.exposure.lacking))
            else:
                found += _find(evidence, kind, repository, window)
    return tuple(sorted(found, key=lambda one: (-(one.cost_usd or 0.0), -one.times, one.id))), tuple(missing)


def conceal_secrets(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings with the secrets in their evidence replaced, without those whose change would hold one.

    >>> list(conceal_secrets([]))
    []
    """
    redactor = redact.Redactor(redact.Scanner(), redact.Pseudonyms(bytes(32)))
    for finding in findings:
        change = finding.change
        told = (finding.title, finding.seen, change.line, change.merge, change.habit)
        if redactor.redact("\n".join(told)) == "\n".join(told):
            moments = tuple(replace(moment, text=redactor.redact(moment.text)) for moment in finding.evidence)
            yield replace(finding, evidence=moments)


def _finding_id(kind: str, repository: str, subject: str) -> str:
    """Return the id of a finding: the same in every window."""
    digest = hashlib.sha256(f"{kind}\0{repository}\0{subject}".encode()).hexdigest()
    return f"{kind.replace('_', '-')}-{digest[:6]}"


def list_exposures(
    material: Material, kind: FindingClass, repository: str, window: Window | None = None
) -> pl.DataFrame:
    """Return the root sessions of a repository that could have shown a class, those of a window or all.

    Returns:
        Columns `root_id`, `root_started_at_ms`, by start.

    >>> from kaizen_analytics.retro.material import read_material
    >>> list_exposures(read_material(store, Window(start_ms=0, end_ms=1)), CLASSES[0], "/w").height
    0
    """
    sessions = material.sessions.filter(pl.col("repository") == repository)
    if window is not None:
        sessions = sessions.filter(started_in(window))
    roots = sessions.select("root_id", "root_started_at_ms").unique()
    frame = getattr(material, kind.exposure.frame).filter(kind.exposure.condition)
    return roots.join(frame.select("root_id").unique(), on="root_id", how="semi").sort("root_started_at_ms", "root_id")


def list_moments(
    evidence: Evidence, kind: FindingClass, repository: str, subject: str, window: Window | None = None
) -> pl.DataFrame:
    """Return the moments of one subject in one repository, those of the sessions of a window or all.

    Returns:
        The rows that the class keeps, with `started_ms` of their root session.

    >>> from kaizen_analytics.retro.material import read_material
    >>> evidence = collect_evidence(read_material(store, Window(start_ms=0, end_ms=1)))
    >>> list_moments(evidence, CLASSES[0], "/w", "option:go:tset").height
    0
    """
    return kind.keep(_group(evidence, kind, repository, subject, window))


def _group(evidence: Evidence, kind: FindingClass, repository: str, subject: str, window: Window | None) -> Group:
    exposed = list_exposures(evidence.material, kind, repository, window)
    rows = evidence.rows[kind.name].filter((pl.col("repository") == repository) & (pl.col("subject") == subject))
    return Group(
        repository=repository,
        subject=subject,
        rows=rows.join(exposed.rename({"root_started_at_ms": "started_ms"}), on="root_id", maintain_order="left"),
        exposed=exposed.height,
        material=evidence.material,
        window=window or Window(start_ms=0, end_ms=_FOREVER_MS),
    )


def _find(evidence: Evidence, kind: FindingClass, repository: str, window: Window) -> Iterator[Finding]:
    rows = evidence.rows[kind.name]
    for subject in rows.filter(pl.col("repository") == repository)["subject"].unique(maintain_order=True):
        group = _group(evidence, kind, repository, subject, window)
        finding = _judge(evidence, kind, group)
        if finding is not None:
            yield _prove(evidence, kind, group, finding)


def _judge(evidence: Evidence, kind: FindingClass, group: Group) -> Finding | None:
    material, window, rows = evidence.material, group.window, kind.keep(group)
    if not _recurs(rows):
        return None
    wording = kind.word(group, rows)
    if wording is None:
        return None
    cost, tokens = rows.select(known_sum("cost_usd"), known_sum("tokens")).row(0)
    if wording.cost_usd is not None:
        cost = wording.cost_usd
    spent = material.responses.filter(
        (pl.col("repository") == group.repository) & pl.col("ts_ms").is_between(window.start_ms, window.end_ms)
    )["cost_usd"].sum()
    if cost is not None and cost < _MIN_SHARE * float(spent or 0.0):
        return None  # an unknown cost is worth a change
    hits = rows["root_id"].n_unique()
    seen = f"{counted(rows.height, 'time')} in {hits} of {group.exposed} {kind.exposure.words}{wording.more}"
    latest = rows.sort("ts_ms", descending=True).head(_SHOWN_MOMENTS)
    line = Change(file=name_instructions(rows, material.sessions), line=wording.line)
    return Finding(
        id=_finding_id(kind.name, group.repository, group.subject),
        kind=kind.name,
        repository=group.repository,
        subject=group.subject,
        title=wording.title,
        seen=seen if wording.seen is None else wording.seen,
        times=rows.height,
        sessions=hits,
        days=(rows["ts_ms"] // DAY_MS).n_unique(),
        exposed=group.exposed,
        exposure=kind.exposure.words,
        cost_usd=cost,
        tokens=tokens,
        usd_per_week=None,
        saving=kind.saving,
        test=kind.test if wording.test is None else wording.test,
        change=line if wording.change is None else wording.change,
        evidence=tuple(
            _Moment(session_id=session, seq=seq, ts_ms=ts_ms, text=detail or "")
            for session, seq, ts_ms, detail in latest.select("session_id", "seq", "ts_ms", "detail").iter_rows()
        ),
        is_new=_is_new(evidence, kind, group),
    )


def _prove(evidence: Evidence, kind: FindingClass, group: Group, finding: Finding) -> Finding:
    """Return a finding with what the last quarter of the window shows, where the others show it by themselves."""
    window = group.window
    edge_ms = window.end_ms - window.length_ms // 4
    rows = kind.keep(group)
    chosen, later = rows.filter(pl.col("started_ms") < edge_ms), rows.filter(pl.col("started_ms") >= edge_ms)
    if not _recurs(chosen):
        return finding
    last = list_exposures(evidence.material, kind, group.repository, Window(start_ms=edge_ms, end_ms=window.end_ms))
    proof = _Proof(days=round(window.length_ms / 4 / DAY_MS), hit=later["root_id"].n_unique(), exposed=last.height)
    low = None if finding.cost_usd is None else 0.0
    if finding.cost_usd and not later.is_empty():
        # Where a class puts its own cost in place of the sum, each row has its share of that.
        spent = finding.cost_usd * float(later["cost_usd"].sum()) / float(rows["cost_usd"].sum())
        low = spent * _lower_bound(later.height) / later.height / ((window.end_ms - edge_ms) / WEEK_MS)
    return replace(finding, proof=proof, usd_per_week=low)


def _recurs(rows: pl.DataFrame) -> bool:
    return (
        rows.height >= _MIN_TIMES
        and rows["root_id"].n_unique() >= _MIN_SESSIONS
        and (rows["ts_ms"] // DAY_MS).n_unique() >= _MIN_DAYS
    )


def _is_new(evidence: Evidence, kind: FindingClass, group: Group) -> bool | None:
    """Say whether the sessions of the last week were hit more often than those before them."""
    edge_ms, end = group.window.end_ms - WEEK_MS, pl.col("root_started_at_ms") < group.window.end_ms
    known = list_exposures(evidence.material, kind, group.repository).filter(end)
    before = known.filter(pl.col("root_started_at_ms") < edge_ms)
    if before.is_empty():
        return None
    rows = list_moments(evidence, kind, group.repository, group.subject)
    hit = known.join(rows.select("root_id").unique(), on="root_id", how="semi")
    former = hit.filter(pl.col("root_started_at_ms") < edge_ms).height
    recent = hit.height - former
    return recent > 0 and fisher_p_value(recent, known.height - before.height, former, before.height) < _ALPHA


def fisher_p_value(hit: int, of: int, former_hit: int, former_of: int) -> float:
    """Return the chance of at least `hit` of `of` sessions, if they are hit as often as the former ones.

    Fisher's exact test, one-sided: the hits of both periods are given, and dealt at random.

    >>> round(fisher_p_value(3, 3, 1, 7), 4)
    0.0333
    """
    total, hits = of + former_of, hit + former_hit
    most = min(of, hits)
    return sum(comb(of, k) * comb(former_of, hits - k) for k in range(hit, most + 1)) / comb(total, hits)


def _lower_bound(count: int) -> float:
    """Return the lower end of the exact 95 % interval of a Poisson mean (Garwood 1936)."""
    from scipy import special

    return float(special.gammaincinv(count, _ALPHA / 2)) if count else 0.0

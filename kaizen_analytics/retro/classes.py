"""The classes of findings: what each keeps of its query's rows, and how it words them.

A class is a query in `sql/retro/` and one declaration in `CLASSES`. Its judge gets the moments of one subject in one
repository and returns None where they are no reason to change anything. Text that goes into a change comes from
commands that worked and from people's prompts, never from a tool's output.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core.words import counted
from kaizen_analytics.outcomes.commands import classify
from kaizen_analytics.retro.commands import allow, drop_files, find_program_folder, find_replacement, quote, split_parts
from kaizen_analytics.retro.material import Material, is_fixer, read_rules, started_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kaizen_analytics.core.model import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change that a finding proposes: a line for the agents' instructions, values for a settings file, or a habit.

    `file` is relative to the repository's root. `line` is one line of Markdown; `merge` is JSON to merge into a file.
    `habit` is what people do instead: it changes no file.
    """

    file: str = ""
    line: str = ""
    merge: str = ""
    habit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FindingText:
    """What a judge says about a group: a title, and a `line` for the agents' instructions or another `change`.

    `seen` stands in place of the counts, `more` after them. `cost_usd` replaces the sum of the rows' costs, and `test`
    the class's, where they are not None.
    """

    title: str
    line: str = ""
    change: Change | None = None
    seen: str | None = None
    more: str = ""
    test: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class _Exposure:
    """Which sessions could have shown a class: those with a row in `frame` that meets `condition`.

    `words` names them, `lacking` says why a class cannot be evaluated without any.
    """

    words: str
    lacking: str
    frame: str
    condition: pl.Expr = field(default_factory=lambda: pl.lit(value=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The moments of one subject in one repository; `exposed` sessions of the window could have shown it."""

    repository: str
    subject: str
    rows: pl.DataFrame
    exposed: int
    material: Material
    window: Window


_PROVEN_BY_LOT = (
    "Draw the change by lot for each session and compare the share of sessions in which this happens: "
    "'kaizen-analytics exp new --from-finding' plans it."
)
_NEEDS_NO_TEST = "Needs no experiment: apply it, and the next retros count whether it still happens."


@dataclass(frozen=True, slots=True)
class FindingClass:
    """One class: its rows come from `sql/retro/<query>.sql`, by default of its own name.

    `keep` chooses among them, `word` judges what recurs.
    """

    name: str
    exposure: _Exposure
    word: Callable[[Group, pl.DataFrame], _FindingText | None]
    saving: str = "the failed call and the answer to it, each time"
    test: str = _PROVEN_BY_LOT
    keep: Callable[[Group], pl.DataFrame] = lambda group: group.rows
    query: str = ""


_SETTINGS = ".claude/settings.json"
_TEXTS = tomllib.loads(files(__package__).joinpath("texts.toml").read_text(encoding="utf-8"))
"""Title and line of the simple classes, by class and subject."""


_SHELL = _Exposure("sessions that ran commands", "no session ran a command", "calls", pl.col("command").is_not_null())
_CALLS = _Exposure("sessions that called tools", "no session called a tool", "calls")
_EDITS = _Exposure("sessions that edited files", "no session edited a file", "calls", pl.col("is_edit"))
_PRICED = _Exposure(
    "sessions with known costs",
    "no response has a price and a count of cached tokens",
    "responses",
    pl.col("read_usd").is_not_null() & pl.col("read_tokens").is_not_null(),
)
_ANSWERED = _Exposure("sessions with an answer", "no session has an answer", "responses")
_PROMPTS = _Exposure(
    "sessions with several prompts", "no session has more than one prompt", "prompts", pl.len().over("session_id") > 1
)
_CHECKED = _Exposure("sessions that ran a check", "no session ran a check", "calls", pl.col("check").is_not_null())
_DELEGATED = _Exposure(
    "sessions with sub-agents",
    "no session started a sub-agent",
    "calls",
    pl.col("tool").str.to_lowercase().is_in(["task", "agent", "spawn_agent"])
    | (pl.col("session_id") != pl.col("root_id")),
)


def name_instructions(rows: pl.DataFrame, sessions: pl.DataFrame) -> str:
    """Return the file that the agents of these sessions read: CLAUDE.md for Claude Code alone, else AGENTS.md.

    >>> sessions = pl.DataFrame({"session_id": ["s"], "agent": ["codex"]})
    >>> name_instructions(sessions, sessions)
    'AGENTS.md'
    """
    return "CLAUDE.md" if _agents(rows, sessions) == ["claude_code"] else "AGENTS.md"


def _agents(rows: pl.DataFrame, sessions: pl.DataFrame) -> list[str]:
    return sessions.join(rows.select("session_id").unique(), on="session_id", how="semi")["agent"].unique().to_list()


def _set_for_claude(group: Group, rows: pl.DataFrame, values: Mapping[str, object]) -> Change | None:
    """Return a change of Claude Code's settings, where no other agent is concerned."""
    if _agents(rows, group.material.sessions) != ["claude_code"]:
        return None
    return Change(file=_SETTINGS, merge=json.dumps(values))


def _most_common(items: Iterable[str]) -> tuple[str, int]:
    counts = Counter(items)
    if not counts:
        return "", 0
    return min(counts.items(), key=lambda item: (-item[1], item[0]))


def _word_wrong_command(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    problem, _, what = group.subject.split(":", 2)
    if problem == "sibling":
        return _text("wrong_command", "sibling")
    if problem == "folder":
        return _word_wrong_folder(group, rows)
    if problem == "not_found" and (found := _word_path(group, rows, what)):
        return found
    folder = group.repository.rstrip("/") + "/"
    (bad, good), times = _shared_pair(
        rows, lambda row: find_replacement(problem, what, row["detail"], row["remedy"], folder) if what else None
    )
    bad_code, good_code = quote(bad), quote(good)
    reasons = {
        "not_found": f"there is no program `{what}`",
        "option": f"`{bad.split(' ')[0]}` has no `{what}`",
        "task": f"there is no task `{what}`",
        "module": f"it has no `{what}`",
    }
    if times and bad_code and not good:
        return _FindingText(
            title=f"{bad_code} does not work here; the command behind it does",
            more=f"; {counted(times, 'time')} it then worked without",
            line=f"Leave out {bad_code}: there is no such program here.",
        )
    if not times or bad_code is None or good_code is None:
        return None
    return _FindingText(
        title=f"{bad_code} does not work here; {good_code} does",
        more=f"; {counted(times, 'time')} {good_code} then worked",
        line=f"Run {good_code}, not {bad_code}: {reasons[problem]}.",
    )


def _shared_pair(
    rows: pl.DataFrame, find: Callable[[dict[str, Any]], tuple[str, str] | None]
) -> tuple[tuple[str, str], int]:
    """Return the pair that most rows have, and how many; none of a pair that only one session has."""
    pairs = [(pair, row["root_id"]) for row in rows.iter_rows(named=True) if (pair := find(row))]
    sessions = Counter(pair for pair, _ in set(pairs))
    shared = Counter(pair for pair, _ in pairs if sessions[pair] >= 2)
    return shared.most_common(1)[0] if shared else (("", ""), 0)


def _word_path(group: Group, rows: pl.DataFrame, what: str) -> _FindingText | None:
    """Word a program that is installed but not on the PATH: later commands found it in a folder of programs."""
    found = [
        (row["root_id"], find_program_folder(what, text))
        for row in rows.iter_rows(named=True)
        for text in row["remedy"]
    ]
    folder, sessions = _most_common(place for _, place in set(found) if place)
    code = quote(what)
    if sessions < 2 or code is None:
        return None
    # Between quotation marks a shell leaves `~` as it is.
    export = f'echo \'export PATH="$PATH:{folder.replace("~", "$HOME", 1)}"\' >> "$CLAUDE_ENV_FILE"'
    hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": export}]}]}}
    change = _set_for_claude(group, rows, hook)
    return _FindingText(
        title=f"{code} is not on the agent's PATH",
        more=f"; `{folder}/{what}` then worked",
        line=f"Run `{folder}/{what}`, not {code}: it is not on the PATH.",
        change=change,
        test=_PROVEN_BY_LOT if change is None else _NEEDS_NO_TEST,
    )


def _word_wrong_folder(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    """Word a command that worked once it ran in another folder of the repository."""
    root = group.repository.rstrip("/")

    def find(row: dict[str, Any]) -> tuple[str, str] | None:
        failed = {shlex.join(words) for words in split_parts(row["detail"]) if words[0] != "cd"}
        for later in row["remedy"]:
            parts = split_parts(later)
            again = [code for words in parts if (code := shlex.join(words)) in failed]
            if parts and parts[0][0] == "cd" and len(parts[0]) == 2 and again:
                return again[0], parts[0][1].removeprefix(f"{root}/").rstrip("/")
        return None

    (command, folder), times = _shared_pair(rows, find)
    code, place = quote(command), quote(folder)
    elsewhere = folder != root and re.match(r"[/~-]|\.\.", folder)
    if not times or code is None or place is None or elsewhere:
        return None
    if folder in (root, "."):
        return _FindingText(
            title=f"{code} fails in folders below the root", line=f"Run {code} in the root of the repository."
        )
    return _FindingText(
        title=f"{code} fails outside of {place}", line=f"Run {code} in {place} of this repository: `cd {folder}` first."
    )


def _word_missing_path(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    if group.subject == "guess":
        paths = rows["remedy"].list.first()
        if paths.n_unique() < 3:
            return None
        return _text("missing_path", "guess", more=f"; {paths.n_unique()} different paths were not there")
    path = quote(group.subject, is_path=True)
    if path is None or re.search(r"[*?\[\]{}()]", group.subject):
        return None
    generated = group.subject.split("/")[0] in read_rules()["generated"]["names"] or group.subject.endswith(".log")
    if (
        generated
        or group.subject.startswith(".env")
        or group.subject in group.material.present.get(group.repository, ())
    ):
        return None
    return _FindingText(
        title=f"Agents look for {path}, which does not exist",
        line=f"There is no {path} in this repository: do not look for it.",
    )


def _word_unknown_helper(group: Group, _rows: pl.DataFrame) -> _FindingText | None:
    tool, _, name = group.subject.partition(":")
    code, noun = quote(name, is_path=True), "skill" if tool == "Skill" else "agent type"
    if code is None:
        return None
    return _FindingText(
        title=f"Agents call the {noun} {code}, which does not exist",
        line=f"There is no {noun} {code} here: do what was asked without it.",
    )


_MIN_REFUSED = 0.07
"""The share of a repository's edits below which refusals are not worth a line."""
_MAIN_REASON = 0.8
"""The share of the refusals from which one reason stands for all of them."""


def _word_edit_refused(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    edits = _in_window(group, group.material.calls.filter(_EDITS.condition))
    problems = edits.filter("failed").get_column("problem").drop_nulls()
    reasons = problems.filter(problems.is_in(list(_TEXTS["edit_refused"])))
    (reason, times), *others = Counter(reasons.sort()).most_common(2)
    is_main = times >= _MAIN_REASON * reasons.len()
    if rows.height < _MIN_REFUSED * edits.height or group.subject != (reason if is_main else "edit"):
        return None
    title, line = _TEXTS["edit_refused"][reason]
    share = f", {100 * rows.height / edits.height:.0f} % of {edits.height} edits"
    if is_main:
        return _FindingText(title=title, line=line, more=share)
    told = [(_TEXTS["edit_refused"][name], count) for name, count in [(reason, times), *others]]
    seen = ", ".join(f"{counted(count, 'time')} {text[0].partition(' because ')[2]}" for text, count in told)
    return _FindingText(
        title="Edits are refused for several reasons",
        line=" ".join(text[1] for text, _ in told),
        more=f"{share}: {seen}",
    )


def _word_fix_before_check(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    parts = [words for row in rows["remedy"] for words in split_parts(row[0]) if is_fixer(shlex.join(words))]
    if group.subject == "any":
        checks = {
            shlex.join(words) for row in rows["detail"] for words in split_parts(row) if classify(words) == "lint"
        }
        named = sorted({code for words in parts if (code := quote(shlex.join(drop_files(words))))})
        if len(checks) < 2 or not named:
            return None
        return _FindingText(
            title="Checks of the format fail, and a fixer is run next",
            more=f": {', '.join(named)}",
            line=f"Before a lint or format check, run the fixer on the files that you changed: {', '.join(named[:3])}.",
        )
    fixer, times = _most_common(shlex.join(words) for words in parts)
    fixer_code, check_code = quote(fixer), quote(group.subject)
    if times < 2 or fixer_code is None or check_code is None:
        return None
    return _FindingText(
        title=f"{check_code} fails, and {fixer_code} is run next",
        line=f"Run {fixer_code} before {check_code}: it repairs what it can by itself.",
    )


def _word_large_output(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    action = group.subject.removeprefix("of:")
    code, known = quote(action), _TEXTS["large_output"].get(group.subject)
    # Of what an interpreter was given itself, nothing recurs.
    if known is None and (code is None or action in read_rules()["running"]["programs"]):
        return None
    noun, line = known or (
        f"outputs of {code}",
        f"Keep what {code} prints short: ask for fewer items or fields, run it quietly, or end it with `| tail -60`.",
    )
    chars = _in_window(group, group.material.calls).join(
        rows.select("session_id", "seq"), on=["session_id", "seq"], how="semi"
    )["chars"]
    return _FindingText(
        title=f"Large {noun} stay in the context for whole sessions",
        more=f"; half of them have {_half_of(chars):,} characters or more",
        line=line,
    )


_SHOWN_FILES = 3


def _word_whole_file(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    sizes = rows.group_by("detail").agg(pl.len().alias("times"))
    top = sizes.sort(["times", "detail"], descending=[True, False]).head(_SHOWN_FILES)
    # What lies outside of the repository has another path on each machine.
    outside = re.compile(r"[/~]|\.\.|[A-Za-z]:")
    inside = [(quote(file, is_path=True), times) for file, times in top.iter_rows() if not outside.match(file)]
    files = [(code, times) for code, times in inside if code]
    told = f": {', '.join(f'{code} {times} times' for code, times in files)}" if files else ""
    if group.subject == "guidance":
        habit = "shorten them to what every use needs, and move the rest into files that they name"
        title = f"{counted(sizes.height, 'long file')} of skills and instructions read again and again"
        return _FindingText(title=title, more=told, change=Change(habit=habit), test=_NEEDS_NO_TEST)
    if not files:
        return None
    return _FindingText(
        title=f"{counted(sizes.height, 'large file')} read whole or in large pieces, again and again",
        line="Find the place with `grep -n`, and read only the lines around it, in long files: "
        f"{', '.join(code for code, _ in files)}.",
    )


def _word_start_context(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    start = _half_of(rows["detail"].cast(pl.Int64))
    lean = min(int(tokens) for (tokens,) in rows["remedy"])
    title = f"Sessions start with {start:,} tokens; the leanest with {lean:,}"
    tools = _in_window(group, group.material.calls)["tool"].unique()
    unused = [
        name
        for name in group.material.servers.get(group.repository, ())
        if quote(name, is_path=True) and not tools.str.starts_with(f"mcp__{name}__").any()
    ]
    if unused and (change := _set_for_claude(group, rows, {"disabledMcpjsonServers": unused})):
        named = ", ".join(f"`{name}`" for name in unused)
        return _FindingText(
            title=title, more=f"; no session used {named} of `.mcp.json`", change=change, test=_NEEDS_NO_TEST
        )
    habit = (
        "run `kaizen-analytics guidance` in the repository, and remove the servers, skills and instructions that no "
        "session used"
    )
    return _FindingText(title=title, change=Change(habit=habit), test=_NEEDS_NO_TEST)


def _keep_subjects(start: str) -> Callable[[Group], pl.DataFrame]:
    return lambda group: group.rows.filter(pl.col("subject").str.starts_with(start))


def _word_cache_expired(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    if group.subject != "expired:5":
        more = f"; half of them paid for {_half_of(rows['tokens']):,} tokens or more once again"
        return _text("cache_expired", "longer", more=more)
    saved = _save_by_hour(group, rows)
    change = _set_for_claude(group, rows, {"promptCacheTtl": "1h"})
    if saved <= 0 or change is None:
        return None
    return _FindingText(
        title="Pauses over 5 minutes expire the prompt cache; a cache of one hour would have cost less",
        more="; the whole context was written anew after a longer break",
        change=change,
        test="Needs no experiment: the counts decide. Claude Code knows the setting from version 2.1.243 on.",
        cost_usd=saved,
    )


def _save_by_hour(group: Group, rows: pl.DataFrame) -> float:
    """Return the dollars that a cache of an hour would have saved in the window; negative where it would cost more."""
    responses = _in_window(group, group.material.responses).filter(pl.col("life_ms") == 300_000)
    kept = rows.filter(pl.col("detail").cast(pl.Int64) < 60)
    spared = responses.join(kept.select("session_id", "seq", "tokens"), on=["session_id", "seq"], how="left")
    rewritten = pl.col("tokens").fill_null(0)
    written = (pl.col("write_tokens") - rewritten).clip(lower_bound=0)
    saved = rewritten * (pl.col("write_usd") - pl.col("read_usd")) - written * (
        pl.col("hour_usd") - pl.col("write_usd")
    )
    return float(spared.select(saved.sum()).item() or 0.0)


_MOST_WORDS = 4
"""Longer prompts, and those that name a file or a number, are about one task."""
_MIN_PROMPTED = 0.3
"""The share of sessions below which a repeated prompt is no habit."""
_MIN_STEPS = 3
"""How often a session's person must say no more than to go on, on average, for it to be step by step."""


def _word_repeated_prompt(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    words = group.subject.split()
    if group.subject == "go on":
        if rows.height < _MIN_STEPS * rows["root_id"].n_unique():
            return None
        return _text("repeated_prompt", "go on")
    rules = read_rules()
    is_rule = words[0] in rules["ruling"]["first"] and len(words) > 1
    is_task = (words[0] in rules["asking"]["first"] and len(words) > 1) or words[0] in rules["asking"]["alone"]
    asked = rows.filter(~pl.col("detail").str.contains(r"[?/@_\d]|\w\.\w"))
    code = quote(group.subject)
    if (
        code is None
        or asked.height < rows.height
        or len(words) > _MOST_WORDS
        or not (is_rule or (is_task and not set(words) & rules["asking"]["outward"]))
        or rows["root_id"].n_unique() < _MIN_PROMPTED * group.exposed
    ):
        return None
    after = " and its checks pass" if words[0] in ("commit", "push", "open", "create") else ""
    if is_rule:
        return _FindingText(title=f"People keep telling agents: {code}", line=f"What people ask for each time: {code}.")
    return _FindingText(
        title=f"People keep asking agents for this: {code}",
        line=f"When a piece of work is done{after}, do this without being asked: {code}.",
    )


def _keep_asked(group: Group) -> pl.DataFrame:
    """Keep all prompts of a wording, but of those with next to none only the ones that say yes or go on."""
    if group.subject != "go on":
        return group.rows
    words = [set(re.findall(r"[^\W\d_]+", text.lower())) for text in group.rows["detail"]]
    kept = [found <= read_rules()["acknowledged"]["words"] or max(map(len, found)) == 1 for found in words]
    return group.rows.filter(pl.Series(kept, dtype=pl.Boolean))


_MIN_CHECKED = 0.5
"""The share of sessions that must run a check for it to be the repository's custom."""


def _word_unchecked_end(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    checked = group.rows.filter(pl.col("remedy").list.len() > 0)
    check, times = _most_common(name for names in checked["remedy"] for name in set(names))
    code = quote(check)
    # A check of one file or one test is not what the next change needs.
    is_narrow = re.search(r"\.\w+(?:$|[\s:])|::|(?:^|\s)(?:-run|-k|-t|--grep|--filter|-p)\b", check.replace("...", ""))
    if code is None or is_narrow or checked.height < _MIN_CHECKED * group.rows.height or times < 2:
        return None
    return _FindingText(
        title="Sessions that edit code end without a check",
        change=_hook_end(group, rows, check),
        seen=(
            f"{rows['root_id'].n_unique()} of {group.rows.height} sessions that edited code ran none after their last "
            f"edit; most often the others ran {code}"
        ),
        line=f"After your last edit, run {code}, and say what it showed.",
    )


_PLAIN_WORD = re.compile(r"(?![-/~])[\w.:/=+-]+")
_STOP_HOOK = (
    """grep -q '"stop_hook_active": *true' || git diff --quiet HEAD || { CHECK; } >&2 || """
    "{ echo 'CHECK fails: mend it, or say why it cannot pass.' >&2; exit 2; }"
)
"""Runs the check when an agent stops with changes, and sends it back once where that fails (exit status 2)."""


def _hook_end(group: Group, rows: pl.DataFrame, check: str) -> Change | None:
    """Return the hook that runs a check at each end, where the check is nothing but plain words."""
    words = check.split()
    if not all(_PLAIN_WORD.fullmatch(word) for word in words) or ".." in check.replace("...", ""):
        return None
    hook = {"type": "command", "command": _STOP_HOOK.replace("CHECK", check)}
    return _set_for_claude(group, rows, {"hooks": {"Stop": [{"hooks": [hook]}]}})


def _word_rework(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    if group.subject == "undone":
        return _text("rework", "undone")
    code = quote(_most_common(name for names in rows["remedy"] for name in names)[0] or group.subject)
    if code is None:
        return None
    if group.subject == "lint":
        return _FindingText(
            title=f"{code} fails on code that is written already, and is mended by hand",
            line=f"Run {code} as soon as the first file of a change is written, and write the others by what it says.",
        )
    return _FindingText(
        title=f"{code} fails again and again between edits: which rule or test is missing beforehand?",
        line=f"When {code} has failed twice in a row, stop editing: read the failing test and the code that it calls, "
        "and say what the cause is before the next edit.",
    )


def _word_service(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    if group.subject == "truncated":
        change = _set_for_claude(group, rows, {"env": {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64000"}})
        return _text("service", "truncated", change=change, test=_NEEDS_NO_TEST)
    if group.subject != "rate_limit":
        return None
    habit = "see `kaizen-analytics usage --by window`, and start long work after a window has turned"
    return _FindingText(title="The limit of the plan ends sessions", change=Change(habit=habit), test=_NEEDS_NO_TEST)


_MIN_SAVED = 0.02
"""The share of the repository's cost below which another model is not worth an experiment."""


def _word_smaller_model(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    who, model, smaller = group.subject.split(":", 2)
    if _agents(rows, group.material.sessions) != ["claude_code"] or quote(model) is None:
        return None
    paid, saved = float(rows["detail"].cast(pl.Float64).sum()), float(rows["cost_usd"].sum())
    if saved < _MIN_SAVED * float(_in_window(group, group.material.responses)["cost_usd"].sum()):
        return None
    more = f"; they cost ${paid:,.2f} on `{model}`, and the same tokens ${paid - saved:,.2f} on `{smaller}`"
    edits = _in_window(group, group.material.calls).filter("is_edit")
    if who == "agents" and edits.filter(pl.col("session_id") != pl.col("root_id")).is_empty():
        change = _set_for_claude(group, rows, {"env": {"CLAUDE_CODE_SUBAGENT_MODEL": smaller}})
        return _FindingText(title=f"Sub-agents that only read run on `{model}`", more=more, change=change)
    kind = smaller.split("-")[1]
    if who == "agents":
        return _FindingText(
            title=f"Sub-agents that only read run on `{model}`",
            more=more,
            line=f"Start sub-agents that only read with `model: {kind}`.",
        )
    return _FindingText(
        title=f"Requests that need only reading run on `{model}`",
        more=more,
        line=f"When a request needs only reading, let one sub-agent with `model: {kind}` read, and answer from its "
        "report.",
    )


def _keep_harmless(group: Group) -> pl.DataFrame:
    kept = [allow(command) is not None for command in group.rows["detail"]]
    return group.rows.filter(pl.Series(kept, dtype=pl.Boolean))


def _keep_refused(group: Group) -> pl.DataFrame:
    """Keep what people refused, of one command alone: of several, nobody can tell which one they did not want."""
    parts = [[words for words in split_parts(command) if words[0] != "cd"] for command in group.rows["detail"]]
    kept = [len(words) == 1 and not allow(row) for words, row in zip(parts, group.rows["detail"], strict=True)]
    return group.rows.filter(pl.Series(kept, dtype=pl.Boolean) & (pl.col("remedy").list.first() == "refused"))


def _word_approval(group: Group, rows: pl.DataFrame) -> _FindingText | None:
    rules = sorted({rule for command in rows["detail"] if (rule := allow(command))})
    change = _set_for_claude(group, rows, {"permissions": {"allow": rules}})
    if change is None:
        return None
    return _FindingText(title=f"Harmless commands wait for approval: `{group.subject}`", change=change)


def _word_refused(group: Group, _rows: pl.DataFrame) -> _FindingText | None:
    code = quote(group.subject)
    if code is None:
        return None
    return _FindingText(
        title=f"People refuse {code}",
        line=f"Do not run {code} unless you are asked to; say what you would run instead.",
    )


def _text(name: str, subject: str, **more: Any) -> _FindingText:  # noqa: ANN401 - other fields of the text
    title, line = _TEXTS[name][subject]
    return _FindingText(title=title, line=line, **more)


def _told(name: str, more: Callable[[pl.DataFrame], str]) -> Callable[[Group, pl.DataFrame], _FindingText | None]:
    """Return a judge that takes title and line by the subject."""
    return lambda group, rows: _text(name, group.subject, more=more(rows)) if group.subject in _TEXTS[name] else None


def _half(column: str, verb: str) -> Callable[[pl.DataFrame], str]:
    return lambda rows: f"{verb} {_half_of(rows[column].cast(pl.Int64)):,} tokens or more"


def _half_of(values: pl.Series) -> int:
    """Return the largest value that at least half of them reach."""
    return int(values.quantile(0.5, interpolation="lower") or 0)


def _in_window(group: Group, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a frame that belong to this repository's sessions of the window."""
    sessions = group.material.sessions
    inside = sessions.filter(pl.col("repository") == group.repository, started_in(group.window))
    return frame.join(inside.select("session_id"), on="session_id", how="semi")


_TO_THE_END = "carrying three quarters of it, to the end of each session"
_ASK = "Ask the people who prompt so whether they want it; then draw the line by lot and count such prompts."
_MODEL = "A randomised experiment on the model: what it saves counts only if as many checks pass."

CLASSES: tuple[FindingClass, ...] = (
    FindingClass("wrong_command", _SHELL, _word_wrong_command),
    FindingClass("missing_path", _CALLS, _word_missing_path),
    FindingClass("unknown_helper", _CALLS, _word_unknown_helper),
    FindingClass("edit_refused", _EDITS, _word_edit_refused),
    FindingClass("fix_before_check", _SHELL, _word_fix_before_check, "the failed check and one answer, each time"),
    FindingClass("large_output", _CALLS, _word_large_output, _TO_THE_END),
    FindingClass(
        "whole_file",
        _CALLS,
        _word_whole_file,
        _TO_THE_END,
        keep=lambda group: group.rows.filter(pl.col("root_id").n_unique().over("detail") >= 2),
    ),
    FindingClass(
        "lone_calls",
        _CALLS,
        _told("lone_calls", _half("tokens", "; half of them read")),
        "reading the whole context once more, each time",
    ),
    FindingClass("start_context", _PRICED, _word_start_context, "carrying the difference through each session"),
    FindingClass(
        "cache_expired",
        _PRICED,
        _word_cache_expired,
        "writing the context anew, less what a longer life costs",
        keep=_keep_subjects("expired:"),
        query="cache_written",
    ),
    FindingClass(
        "cache_lost",
        _PRICED,
        _told("cache_lost", _half("detail", "; half of them carried")),
        "writing the context anew, each time",
        keep=_keep_subjects("lost:"),
        query="cache_written",
    ),
    FindingClass(
        "carried_context",
        _PRICED,
        _told("carried_context", _half("detail", ", at a later request; half of them carried")),
        "carrying the old context on; a new session is taken to read a quarter of it again",
    ),
    FindingClass(
        "repeated_prompt",
        _PROMPTS,
        _word_repeated_prompt,
        "one prompt and the answer that reads the whole context for it, each time",
        _ASK,
        _keep_asked,
    ),
    FindingClass(
        "unchecked_end",
        _EDITS,
        _word_unchecked_end,
        "what an unchecked change costs later; transcripts do not tell it",
        keep=lambda group: group.rows.filter(pl.col("remedy").list.len() == 0),
    ),
    FindingClass(
        "rework", _CHECKED, _word_rework, "the answers between two failures, or what was lost of the session's cost"
    ),
    FindingClass(
        "delegation", _DELEGATED, _told("delegation", lambda _: ""), "carrying the copy, or reading the file once more"
    ),
    FindingClass("service", _ANSWERED, _word_service, "the answer that was cut; what a limit costs is not known"),
    FindingClass(
        "smaller_model", _PRICED, _word_smaller_model, "the difference of the two prices for the same tokens", _MODEL
    ),
    FindingClass("approval", _SHELL, _word_approval, test=_NEEDS_NO_TEST, keep=_keep_harmless, query="refused"),
    FindingClass("refused", _SHELL, _word_refused, keep=_keep_refused),
)
"""Every class, in the order in which they are evaluated."""
KINDS = {kind.name: kind for kind in CLASSES}

OWN_SETTINGS = frozenset({"promptCacheTtl", "permissions", "env"})
"""Settings of which every value is one of our own lists: they name nothing of a store."""

PUBLIC_CODE = frozenset(
    {"CLAUDE.md", "AGENTS.md", _SETTINGS, ".mcp.json", "grep -n", "| tail -60"}
    | {"kaizen-analytics guidance", "kaizen-analytics usage --by window"}
    | {f"model: {kind}" for kind in ("sonnet", "haiku")}
    | {piece for texts in _TEXTS.values() for _, line in texts.values() for piece in line.split("`")[1::2]}
)
"""What the classes themselves put between backticks: it names nothing of a store."""

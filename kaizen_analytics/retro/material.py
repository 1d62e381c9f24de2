"""What findings are found in: what the sessions of one span of time did and said, as frames.

The frames are read in one consistent state of the store. What a frame adds to its query is worked out here: the
repository that a folder belongs to, why a call failed, which checks a command ran, and the price of a token.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core.folders import in_folders
from kaizen_analytics.core.queries import Query, columns
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.records import Tokens
from kaizen_analytics.outcomes.commands import classify, read_command, split_command
from kaizen_analytics.store.location import find_workspace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kaizen_analytics.core.model import Window
    from kaizen_analytics.store import Store

_SESSIONS = Query(
    path="retro/sessions.sql",
    schema=columns(
        text="session_id root_id agent model workspace", whole="started_at_ms root_started_at_ms", flag="is_orphan"
    ),
    reads={"session_roots": "staging/session_roots.sql"},
)
_RESPONSES = Query(
    path="retro/responses.sql",
    schema=columns(
        text="session_id model stop_reason",
        whole="seq ts_ms context_tokens input_tokens write_tokens read_tokens output_tokens cost_usd_e6 segment",
    ),
)
_CALLS = Query(
    path="retro/calls.sql",
    schema=columns(
        text="session_id tool command path helper error says",
        whole="seq ts_ms result_seq chars lines",
        flag="failed made_commit",
    ),
    reads={"tool_results": "staging/tool_results.sql"},
)
_PROMPTS = Query(path="retro/prompts.sql", schema=columns(text="session_id text", whole="seq ts_ms chars"))
_ERRORS = Query(path="retro/errors.sql", schema=columns(text="session_id error", whole="seq ts_ms"))
_OUTCOMES = Query(path="retro/outcomes.sql", schema=columns(text="session_id", number="lost_share"))

_WORKTREE = re.compile(r"(?:/\.(?:claude/)?worktrees/|__worktrees/).*$")
_HEADERS = re.compile(
    r"\A(?:Exit code:? -?\d+|Command: .*|Chunk ID: .*|Wall time: .*|Process exited .*|Original token .*|Output:)\n?"
)
_ASSIGNMENT = re.compile(r"\w+=")
_PRICED_TOKENS = 100_000
"""A size of context below every step of today's prices."""
_FIVE_MINUTES_MS, _HOUR_MS = 300_000, 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The frames of one span; `orphans` are the sub-agents whose root is missing, which are in no other frame.

    `servers` are the MCP servers that each repository on this machine names in its `.mcp.json`; `present` are the
    paths that agents looked for in vain and that are there now.
    """

    sessions: pl.DataFrame
    responses: pl.DataFrame
    calls: pl.DataFrame
    prompts: pl.DataFrame
    errors: pl.DataFrame
    outcomes: pl.DataFrame
    orphans: pl.DataFrame
    servers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    present: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def relations(self) -> dict[str, pl.DataFrame]:
        """Return the frames by the names under which queries read them; `calls` gets its costs there."""
        names = ("sessions", "responses", "prompts", "errors", "outcomes")
        return {**{name: getattr(self, name) for name in names}, "tool_calls": self.calls}


def read_material(store: Store, span: Window, *, repository: str | None = None) -> Material:
    """Read the sessions that started in a span, and everything in them.

    Args:
        store: An open store; it is only read.
        span: The root sessions that started in it count, with their sub-agents.
        repository: Only sessions of this folder, those below it and its worktrees; None for all.

    >>> from kaizen_analytics.core.model import Window
    >>> read_material(store, Window(start_ms=0, end_ms=1)).sessions.height
    0
    """
    with store.snapshot():
        sessions = _SESSIONS.run(store, from_ms=span.start_ms, to_ms=span.end_ms)
        frames = [query.run(store) for query in (_RESPONSES, _CALLS, _PROMPTS, _ERRORS, _OUTCOMES)]
    material = _build_material(sessions, *frames, repository=repository)
    places = material.sessions["repository"].unique().sort()
    servers = {place: list_servers(Path(place)) for place in places}
    return replace(material, servers=servers, present=_find_present(material.calls))


def _find_present(calls: pl.DataFrame) -> dict[str, frozenset[str]]:
    missed = calls.filter(pl.col("problem") == "path").select("repository", "folder", "what", "path").unique()
    found: dict[str, set[str]] = {}
    for repository, folder, what, path in missed.iter_rows():
        name = (
            (path if what == "File does not exist" else what or "").removeprefix(folder).removeprefix("./").rstrip("/")
        )
        if name and Path(repository, name).exists():
            found.setdefault(repository, set()).add(name)
    return {repository: frozenset(names) for repository, names in found.items()}


def started_in(window: Window) -> pl.Expr:
    """Return the condition that the root of a session started in a window.

    >>> from kaizen_analytics.core.model import Window
    >>> starts = pl.DataFrame({"root_started_at_ms": [0, 1, 2]})
    >>> starts.filter(started_in(Window(start_ms=1, end_ms=2)))["root_started_at_ms"].to_list()
    [1]
    """
    return pl.col("root_started_at_ms").is_between(window.start_ms, window.end_ms, closed="left")


def read_responses(store: Store, session_ids: Collection[str]) -> pl.DataFrame:
    """Return the responses of some sessions, with dollars per token read from, written to or kept out of a cache.

    >>> read_responses(store, []).height
    0
    """
    if not session_ids:
        return _add_prices(pl.DataFrame(schema=_RESPONSES.schema))
    return _add_prices(_RESPONSES.run(store).filter(pl.col("session_id").is_in(list(session_ids))))


def _build_material(
    sessions: pl.DataFrame,
    responses: pl.DataFrame,
    calls: pl.DataFrame,
    prompts: pl.DataFrame,
    errors: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    repository: str | None = None,
) -> Material:
    """Return material of the frames of `_SESSIONS`, `_RESPONSES`, `_CALLS`, `_PROMPTS`, `_ERRORS` and `_OUTCOMES`."""
    named = _name_repositories([*sessions["workspace"].unique(), *([] if repository is None else [repository])])
    sessions = sessions.with_columns(
        pl.col("workspace").replace_strict(named, default=None, return_dtype=pl.String).alias("repository")
    )
    if repository is not None:
        sessions = sessions.filter(in_folders([repository]) | (pl.col("repository") == named[repository]))
    kept = sessions.filter(~pl.col("is_orphan") & (pl.col("repository") != ""))
    owners = kept.select("session_id", "root_id", "repository", "agent", "workspace")
    facts = _add_facts(calls.join(owners, on="session_id"))
    same = pl.col("repository").replace(_find_clones(facts))
    kept, facts, owners = (frame.with_columns(same) for frame in (kept, facts, owners))
    return Material(
        sessions=kept,
        responses=_add_prices(responses.join(owners.drop("workspace"), on="session_id")),
        calls=facts,
        prompts=prompts.join(owners.drop("workspace"), on="session_id"),
        errors=errors.join(owners.drop("workspace"), on="session_id"),
        outcomes=outcomes.join(owners.drop("workspace"), on="session_id"),
        orphans=sessions.filter("is_orphan"),
    )


def _name_repositories(workspaces: Iterable[str]) -> dict[str, str]:
    """Return the repository of each folder: its root on this machine, else the folder without a worktree's part.

    Worktrees and clones of one remote count as one, by the first of their roots.

    >>> _name_repositories(["/gone/shop/.worktrees/2", "/gone/shop"])
    {'/gone/shop/.worktrees/2': '/gone/shop', '/gone/shop': '/gone/shop'}
    """
    roots = {folder: _find_root(folder) for folder in workspaces}
    first: dict[str, str] = {}
    for root in sorted(set(roots.values())):
        first.setdefault(_read_remote(Path(root)) or root, root)
    return {folder: first[_read_remote(Path(root)) or root] for folder, root in roots.items()}


_ORIGIN = re.compile(r'^\[remote "origin"\]\n(?:[ \t]+.*\n)*?[ \t]+url *= *(\S+)', re.MULTILINE)


@cache
def _read_remote(root: Path) -> str | None:
    """Return the address of a repository's remote without what clones spell differently; None where there is none."""
    try:
        found = _ORIGIN.search((root / ".git" / "config").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return None if found is None else re.sub(r"^\w+://|^[^@/]*@|\.git/?$", "", found[1]).replace(":", "/").lower()


def _find_root(folder: str) -> str:
    plain = _WORKTREE.sub("", folder)
    root = find_workspace(Path(plain)) if plain.startswith("/") and Path(plain).is_dir() else None
    return plain if root is None else str(root)


_MIN_SHARED = 3
"""Files that lie at the same place in two folders of one name, two levels deep or more, for these to be clones."""


def _find_clones(calls: pl.DataFrame) -> dict[str, str]:
    """Return the first of each set of repositories that are clones of one, as far as the calls of their sessions show.

    Transcripts do not name the remote, and on other machines the same repository lies elsewhere: clones have the same
    name and hold the same files. Folders on this machine are told apart by their remotes already.

    >>> files = [f"src/shop/{name}.py" for name in "abc"]
    >>> rows = [(f"/{user}/shop", f"/{user}/shop/", f"/{user}/shop/{file}") for user in "ab" for file in files]
    >>> names = ["repository", "folder", "path"]
    >>> _find_clones(pl.DataFrame(rows, schema=names, orient="row").with_columns(reads=pl.lit(None, pl.String)))
    {'/b/shop': '/a/shop'}
    """
    places: dict[str, set[str]] = {}
    for repository, folder, path, read in calls.select("repository", "folder", "path", "reads").iter_rows():
        inside = (path or read or "").removeprefix(folder)
        if inside.count("/") >= 2 and not inside.startswith(("/", "~", "..")):
            places.setdefault(repository, set()).add(inside)
    here = {root for root in places if Path(root).is_dir()}
    clones: dict[str, str] = {}
    for one in sorted(places, key=lambda root: (root not in here, root)):
        for other in sorted(places.keys() - here - {one, *clones}):
            alike = one.rpartition("/")[2] == other.rpartition("/")[2] and one not in clones
            if alike and len(places[one] & places[other]) >= _MIN_SHARED:
                clones[other] = one
                places[one] |= places[other]
    return clones


def list_servers(root: Path) -> tuple[str, ...]:
    """Return the names of the MCP servers in a repository's `.mcp.json`; none where the file cannot be read.

    >>> list_servers(tmp)
    ()
    """
    file = root / ".mcp.json"
    try:
        return tuple(sorted(json.loads(file.read_text(encoding="utf-8")).get("mcpServers", {})))
    except (OSError, ValueError, AttributeError):
        # A broken file tells its agents nothing; other commands say what is wrong with it.
        return ()


def _clean_error(text: str | None) -> str:
    r"""Return the text of a failed result without what an agent puts in front of it.

    >>> _clean_error("Exit code 127\nzsh: command not found: gr")
    'zsh: command not found: gr'
    """
    rest = (text or "").replace("<tool_use_error>", "").replace("</tool_use_error>", "")
    while match := _HEADERS.match(rest):
        rest = rest[match.end() :]
    return rest.strip()


@cache
def read_rules() -> dict[str, Any]:
    """Return `rules.toml`: sets of words by table and key, patterns compiled.

    >>> "ls" in read_rules()["harmless"]["programs"], "rm" in read_rules()["harmless"]["programs"]
    (True, False)
    """
    rules = tomllib.loads(files(__package__).joinpath("rules.toml").read_text(encoding="utf-8"))
    for table in ("acknowledged", "harmless", "asking", "ruling", "generated", "running", "reading", "editing"):
        rules[table] = {key: frozenset(words) for key, words in rules[table].items()}
    rules["problem"] = [(row["kind"], re.compile(row["pattern"])) for row in rules["problem"]]
    return rules


def _classify_error(text: str | None) -> tuple[str, str] | None:
    """Return why a call failed, as (kind, thing), by the table `rules.toml`; None for any other failure."""
    cleaned = _clean_error(text)
    for kind, pattern in read_rules()["problem"]:
        if found := pattern.search(cleaned):
            return kind, next((group for group in found.groups() if group), "")
    return None


def _add_facts(calls: pl.DataFrame) -> pl.DataFrame:
    problems = [
        _classify_error(error) if failed else None for failed, error in calls.select("failed", "error").iter_rows()
    ]
    facts = [_read_parts(command) for command in calls["command"]]
    folder = pl.col("workspace").str.strip_suffix("/") + "/"
    rules, tool = read_rules(), pl.col("tool").str.to_lowercase()
    return (
        calls.with_columns(
            pl.Series("problem", [None if found is None else found[0] for found in problems], pl.String),
            pl.Series("what", [None if found is None else found[1] for found in problems], pl.String),
            *pl.DataFrame(facts, schema=_FACTS).get_columns(),
            tool.is_in(list(rules["editing"]["tools"])).alias("is_edit"),
            pl.Series("check_failed", _judge_checks(calls, facts), pl.Boolean),
        )
        .with_columns(
            (pl.col("is_reading") | tool.is_in(list(rules["reading"]["tools"]))).alias("is_reading"),
            folder.alias("folder"),
        )
        .drop("workspace")
    )


_FIXERS = re.compile(r"(?:^|[\s:._-])(?:--fix|--write|--autocorrect|--autocorrect-all|fix|fmt|format)(?:$|[\s:._-])")
_READERS = frozenset({"cat", "sed", "nl", "head", "tail", "bat", "less", "more", "Get-Content", "gc", "type"})
_RANGE = re.compile(r"[\d,$]+p?")
_WORD, _ARGUMENT = re.compile(r"[a-z][a-z-]*"), re.compile(r"[\w.][\w./:@-]*")


_FACTS = columns(text="program action check check_kind reads", flag="is_fix is_reader is_reading")


def _judge_checks(calls: pl.DataFrame, facts: Sequence[Mapping[str, Any]]) -> list[bool | None]:
    """Return whether a check of each call failed, also where a filter hid its exit status; None without a check."""
    rows = calls.select("command", "failed", "says").iter_rows()
    passed = [
        read_command(command, failed=failed, says=says).passed if fact["check"] else None
        for (command, failed, says), fact in zip(rows, facts, strict=True)
    ]
    return [None if one is None else not one for one in passed]


def _read_parts(command: str | None) -> dict[str, Any]:
    """Return what the text of a shell command says, by the names of `_FACTS`.

    `program` is its first but `cd`, `action` the program with what it is to do, `check` its last check. It `reads` the
    only file that it names, if it only prints files (`is_reader`); one that `is_reading` changes nothing.
    """
    parts = [part.words for part in split_command(command)] if command else []
    if not parts:
        return dict.fromkeys(_FACTS) | {"is_fix": False, "is_reader": False, "is_reading": False}
    rules, checks = read_rules(), [words for words in parts if classify(words)]
    acting = [words for words in parts if words[0] != "cd"] or parts
    words = [word for word in acting[0] if not _ASSIGNMENT.match(word)] or list(parts[0])
    program = words[0].rpartition("/")[2]
    programs = {part[0] for part in acting}
    read = [word for part in acting for word in part[1:] if not word.startswith("-") and not _RANGE.fullmatch(word)]
    git = all(part[1:2] and part[1] in rules["reading"]["git"] for part in acting if part[0] == "git")
    changes = any(word.startswith(("-i", "-delete", "-exec")) for part in acting for word in part[1:])
    return {
        "program": program,
        "action": _name_action(program, words[1:]),
        "check": shlex.join(checks[-1]) if checks else None,
        "check_kind": classify(checks[-1]) if checks else None,
        "is_fix": any(is_fixer(" ".join(words)) for words in parts),
        "reads": read[0] if programs <= _READERS and len(read) == 1 else None,
        "is_reader": programs <= _READERS,
        "is_reading": programs <= rules["reading"]["programs"] and git and not changes and ">" not in (command or ""),
    }


def _name_action(program: str, words: Sequence[str]) -> str:
    """Return a program with its sub-command, or with the script that it runs.

    >>> _name_action("npm", ["run", "build", "-v"]), _name_action("python", ["-m", "pytest"])
    ('npm run build', 'python -m pytest')
    """
    rules = read_rules()["running"]
    known, taken = _ARGUMENT if program in rules["programs"] else _WORD, list[str]()
    for word in words:
        if not known.fullmatch(word) and word != "-m":
            break
        taken.append(word)
        if word not in rules["connecting"]:
            break
    return " ".join([program, *taken])


def is_fixer(command: str) -> bool:
    """Return whether a command repairs what checks find, by its words.

    >>> is_fixer("bun run lint:fix"), is_fixer("bun run lint")
    (True, False)
    """
    return _FIXERS.search(command) is not None


def _add_prices(responses: pl.DataFrame) -> pl.DataFrame:
    """Add dollars per token read from, written to or kept out of a cache, and how long a written cache lives."""
    prices = PriceList()
    keys = responses.select(
        "model", "ts_ms", "write_tokens", "input_tokens", "read_tokens", "output_tokens", "cost_usd_e6"
    )
    rows = [_price_row(prices, row) for row in keys.iter_rows()]
    prices_of = pl.DataFrame(rows, schema=_PRICES).get_columns()
    return responses.with_columns(*prices_of, (pl.col("cost_usd_e6") / 1e6).alias("cost_usd"))


_PRICES = columns(text="smaller", whole="life_ms", number="input_usd read_usd write_usd hour_usd smaller_usd")


def _price_row(prices: PriceList, row: tuple[Any, ...]) -> dict[str, Any]:
    model, at_ms, written, given, read, output, cost_usd_e6 = row
    price = None if model is None else prices.find(model, at_ms)
    if price is None or model is None:
        return dict.fromkeys(_PRICES)
    n, life = _PRICED_TOKENS, None
    if written and cost_usd_e6 is not None:
        # The store keeps no lifetime, but its cost tells: an hour costs more to write than five minutes.
        short, long = (price.cost_e6(Tokens(given, written, read, output, None, hour)) for hour in (0, written))
        life = _FIVE_MINUTES_MS if cost_usd_e6 == short != long else _HOUR_MS if cost_usd_e6 == long != short else None
    smaller = next((name for start, name in read_rules()["smaller"].items() if model.startswith(start)), None)
    cheaper = None if smaller is None else prices.find(smaller, at_ms)
    in_hour = (written or 0) if life == _HOUR_MS else 0
    spent = None if cheaper is None else cheaper.cost_e6(Tokens(given, written, read, output, None, in_hour))
    each = {
        "input_usd": Tokens(n, None, None, None, None),
        "read_usd": Tokens(None, None, n, None, None),
        "write_usd": Tokens(None, n, None, None, None),
        "hour_usd": Tokens(None, n, None, None, None, n),
    }
    costs = {name: price.cost_e6(tokens) for name, tokens in each.items()}
    return {
        **{name: None if cost is None else cost / 1e6 / n for name, cost in costs.items()},
        "life_ms": life,
        "smaller": smaller,
        "smaller_usd": None if spent is None else spent / 1e6,
    }

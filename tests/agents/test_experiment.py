"""An experiment from end to end: forty real runs under a coin, ingested, folded and judged."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from laboratory import Laboratory

from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.decide import Grade
from kaizen_analytics.experiments.evaluation import CautionKind, Evaluation
from kaizen_analytics.experiments.sample import Exclusion
from kaizen_analytics.hook import draw
from kaizen_analytics.stats import RatioStatus
from kaizen_analytics.store import Store

RUNS = 40
HOUR_MS = 3_600_000
TEXT = "Answer in one sentence, without repeating the question.\n"


def run_experiment(lab: Laboratory, effect: float) -> tuple[dict, dict[str, str], Evaluation]:
    """Run forty sessions; the model answers `effect` times as long where the request holds the treatment's text."""

    def choose_output(text: str, number: int) -> int:
        noise = zlib.crc32(str(number).encode()) % 1000
        return int((4000 + noise) * (effect if TEXT.strip() in text else 1))

    lab.stand_in.choose_output = choose_output
    (lab.home / "brief.md").write_text(TEXT)
    lab.kaizen("hooks", "install", "--yes", "--agent", "claude_code")
    document = lab.start_experiment("brief", f"--treatment-text={lab.home / 'brief.md'}")
    with ThreadPoolExecutor(2) as pool:
        sessions = list(pool.map(lambda _: lab.claude("hello"), range(RUNS)))
    lab.ingest()
    assert len(set(sessions)) == RUNS
    arms = lab.draws("brief")
    with Store.open(lab.store) as store:
        later_ms = time.time_ns() // 1_000_000 + 2 * HOUR_MS  # a session counts when it has been quiet for an hour
        return document, arms, lifecycle.evaluate(store, "brief", now_ms=later_ms)


@pytest.mark.parametrize(
    ("effect", "verdicts"), [(0.5, {"met"}), (1.0, {"inconclusive", "target_excluded", "regressed"})]
)
def test_the_verdict_follows_the_effect_that_is_played(
    make_laboratory: Callable[..., Laboratory], effect: float, verdicts: set[str]
) -> None:
    lab = make_laboratory()
    document, arms, found = run_experiment(lab, effect)

    # On a busy machine a hook may give up; its session takes no part, and the report says how many.
    undrawn = RUNS - len(arms)
    assert undrawn <= RUNS // 10
    assert [(item.kind, item.count) for item in found.quality.cautions] == [(CautionKind.NOT_DRAWN, undrawn)][
        : undrawn > 0
    ]
    assert arms == {session: draw(document["seed"], "brief", session, 0.5) for session in arms}
    for session, arm in arms.items():
        assert [TEXT.strip() in call.text for call in lab.stand_in.of(session)] == [arm == "Treatment"]
    assert found.decision.grade is Grade.RANDOMISED
    assert found.quality.sample_ratio.status is not RatioStatus.INVALID
    assert found.excluded.keys() <= {"after the planned end", Exclusion.NOT_DRAWN.value}
    assert found.verdict in verdicts, Counter(arms.values())

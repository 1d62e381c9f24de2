"""What is chosen because it looks bad looks better next time: the figures of a finding's last days are free of that."""

from __future__ import annotations

import random
from math import sqrt
from statistics import mean, stdev

import pytest
from retro_sessions import REPOSITORY, Session, find, misspell

from kaizen_analytics.retro.findings import _lower_bound

RATE, REPOSITORIES, DAYS = 0.08, 300, 28
WEEKLY = 7 * RATE
"""Times a week that each repository sees the same thing: a session a day, each with the same chance."""


@pytest.mark.slow
@pytest.mark.long
def test_the_figures_of_the_last_days_have_no_bias_of_choice():
    luck = random.Random(17)
    sessions = []
    for place in range(REPOSITORIES):
        for day in range(DAYS):
            session = Session(f"s{place}-{day}", day + 0.5, workspace=f"{REPOSITORY}{place}")
            sessions.append(misspell(session) if luck.random() < RATE else session.run("bun test").answer(read=9))

    chosen = [one for one in find("wrong_command", *sessions) if one.proof is not None]

    def bias(rates: list[float]) -> tuple[float, float]:
        """Return by how much the mean of rates misses the true one, and its Monte Carlo error."""
        return mean(rates) - RATE, stdev(rates) / sqrt(len(rates))

    last, error = bias([one.proof.hit / one.proof.exposed for one in chosen if one.proof])
    whole, error_of_whole = bias([one.sessions / one.exposed for one in chosen])
    assert len(chosen) > 50
    assert abs(last) < 3 * error, "seven days that had no part in the choice"
    assert whole > 10 * error_of_whole, "the whole window makes the same findings look worse than they are"

    # The lower end of a 95 % interval is to lie above the truth in at most 2.5 of 100 findings.
    each = chosen[0].cost_usd / chosen[0].times
    above = [one.usd_per_week > WEEKLY * each for one in chosen]
    allowed = 0.025 + 3 * sqrt(0.025 * 0.975 / len(chosen))
    assert mean(above) <= allowed
    assert mean(_lower_bound(one.times) / 4 > WEEKLY for one in chosen) > mean(above)

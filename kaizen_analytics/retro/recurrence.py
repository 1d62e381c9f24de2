"""How often something recurs: exact intervals of rates, and whether one period had more of it than another."""

from __future__ import annotations

from math import comb

_ALPHA = 0.05


def poisson_lower_bound(count: int) -> float:
    """Return the lower end of the exact 95 % interval of a Poisson mean (Garwood 1936).

    >>> round(poisson_lower_bound(4), 4)
    1.0899
    """
    from scipy import special

    return float(special.gammaincinv(count, _ALPHA / 2)) if count else 0.0


def fisher_p_value(hit: int, of: int, former_hit: int, former_of: int) -> float:
    """Return the chance of at least `hit` of `of` sessions, if they are hit as often as the former ones.

    Fisher's exact test, one-sided: the hits of both periods are given, and dealt at random.

    >>> round(fisher_p_value(3, 3, 1, 7), 4)
    0.0333
    """
    total, hits = of + former_of, hit + former_hit
    most = min(of, hits)
    return sum(comb(of, k) * comb(former_of, hits - k) for k in range(hit, most + 1)) / comb(total, hits)


def is_more_frequent(hit: int, of: int, former_hit: int, former_of: int) -> bool:
    """Return whether a period's sessions were hit more often than chance explains (5 %).

    >>> is_more_frequent(3, 3, 1, 7), is_more_frequent(1, 3, 1, 7)
    (True, False)
    """
    return hit > 0 and fisher_p_value(hit, of, former_hit, former_of) < _ALPHA

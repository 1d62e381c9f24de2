"""What the import of scipy leaves out, and that numpy and scipy are whole afterwards."""

import subprocess
import sys

LEAN = """
import sys
import kaizen_analytics.stats

assert not {"numpy.f2py", "numpy.testing", "scipy.stats"} & set(sys.modules)
"""
WHOLE = """
import numpy
from scipy import fft, stats

assert {"f2py", "random", "testing"} <= set(dir(numpy)) & set(numpy.__all__)
assert abs(stats.bootstrap(([1.0, 2.0, 3.0],), numpy.mean, rng=1).confidence_interval.low - 1.0) < 0.5
assert numpy.allclose(fft.ifft(fft.fft([1.0, 2.0])), [1.0, 2.0])
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_statistics_load_no_part_of_numpy_that_they_do_not_use():
    done = run(LEAN)
    assert (done.returncode, done.stderr) == (0, "")


def test_numpy_and_scipy_are_whole_afterwards():
    done = run(LEAN + WHOLE)
    assert (done.returncode, done.stderr) == (0, "")

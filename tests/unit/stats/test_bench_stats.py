"""The benchmark of the statistics runs, and writes its tables between its markers."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).resolve().parents[3] / "benchmarks" / "bench_stats.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_stats", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_stats"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench_stats"]


def test_quick_run_writes_every_table(bench, tmp_path, capsys):
    output = tmp_path / "evidence.md"
    output.write_text(f"# Evidence\n\n{bench.BEGIN}\nstale tables\n{bench.END}\n\nKept.\n", encoding="utf-8")

    assert bench.main(["--quick", "--output", str(output)]) == 0

    text = output.read_text(encoding="utf-8")
    assert text.startswith("# Evidence\n")
    assert text.endswith("Kept.\n")
    assert "stale tables" not in text
    assert text.count("\n## ") == 7
    assert text.split("## ", 1)[1].split(bench.END)[0].strip() in capsys.readouterr().out


def test_the_screen_never_exceeds_the_real_p_value(bench):
    rng = np.random.default_rng(0)
    for draw in bench.LOOK_SHAPES.values():
        control, treatment = draw(rng, 60), 0.7 * draw(rng, 60)
        looks = [(n, n) for n in range(30, 61)]
        limits = bench._least_p_values(control, treatment, looks)
        for (n, _), limit in zip(looks, limits, strict=True):
            pair = bench.LawPair(bench.median_law(control[:n]), bench.median_law(treatment[:n]))
            assert limit <= 2 * min(pair.difference_tails()) + 1e-12

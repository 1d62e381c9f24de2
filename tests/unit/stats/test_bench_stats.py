"""The benchmark of the statistics runs, and writes its tables between its markers."""

import numpy as np
import pytest

from benchmarks import before_after
from benchmarks import bench_stats as bench


@pytest.mark.slow
@pytest.mark.long
def test_quick_run_writes_every_table(tmp_path, capsys):
    output = tmp_path / "evidence.md"
    output.write_text(f"# Evidence\n\n{bench.BEGIN}\nstale tables\n{bench.END}\n\nKept.\n", encoding="utf-8")

    assert bench.main(["--quick", "--output", str(output)]) == 0

    text = output.read_text(encoding="utf-8")
    assert text.startswith("# Evidence\n")
    assert text.endswith("Kept.\n")
    assert "stale tables" not in text
    assert text.count("\n## ") == 16
    assert text.split("## ", 1)[1].split(bench.END)[0].strip() in capsys.readouterr().out


def test_the_screen_never_exceeds_the_real_p_value():
    rng = np.random.default_rng(0)
    for draw in bench.LOOK_SHAPES.values():
        control, treatment = draw(rng, 60), 0.7 * draw(rng, 60)
        looks = [(n, n) for n in range(30, 61)]
        limits = bench._least_p_values(control, treatment, looks)
        for (n, _), limit in zip(looks, limits, strict=True):
            pair = bench._MedianPair(bench.median_distribution(control[:n]), bench.median_distribution(treatment[:n]))
            assert limit <= 2 * min(pair.difference_tails()) + 1e-12


def test_a_stopped_run_is_continued(tmp_path):

    lines: list[str] = []
    path, cells = tmp_path / "claims.json", before_after.NULL_CELLS[:2]
    first = before_after.run(3, path, cells=cells[:1], say=lines.append)
    assert before_after.run(3, path, cells=cells, say=lines.append).items() >= first.items()
    assert [line.partition(":")[0] for line in lines] == ["1/1 calm|14|10|0|8", "2/2 calm|14|50|0|8"]


def test_rates_of_false_claims_have_their_error_and_miss_their_target():

    known = {cell.key: {"no_difference": 390, "lower": 10} for cell in before_after.NULL_CELLS}
    for cell in before_after.NULL_CELLS:
        if cell.world == "calm":
            known[cell.key] = {"no_difference": 360, "higher": 40}
    report = bench.Report()
    before_after.write_before_after(report, known)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in report.lines if line.startswith("| ")}
    assert "2.5 ± 0.8" in rows["tasks"]
    assert report.missed == ["false claims, calm"]

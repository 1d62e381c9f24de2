"""Tables as files."""

from pathlib import Path

import polars as pl
import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.exports.files import _guard_formulas, write_table

FRAME = pl.DataFrame({"name": ["plain", "=1+1", None], "value": [1.5, -2.0, None]})


def test_csv_disarms_formulas(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_table(FRAME, path)
    assert path.read_text() == "name,value\nplain,1.5\n'=1+1,-2.0\n,\n"


@pytest.mark.parametrize("text", ["=x", "+x", "-x", "@x", "\tx", "\rx"])
def test_every_start_of_a_formula_is_guarded(text: str) -> None:
    assert _guard_formulas(pl.DataFrame({"t": [text]}))["t"].to_list() == [f"'{text}"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "precious", tmp_path / "out.csv"
    target.write_text("keep")
    link.symlink_to(target)
    write_table(FRAME, link)
    assert target.read_text() == "keep"
    assert not link.is_symlink()


def test_an_unknown_ending_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'\.xlsx'; expected one of \.parquet, \.csv, \.json"):
        write_table(FRAME, tmp_path / "out.xlsx")
    with pytest.raises(ConfigError, match="Cannot write into"):
        write_table(FRAME, tmp_path / "nowhere" / "out.csv")

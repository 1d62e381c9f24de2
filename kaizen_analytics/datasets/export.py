"""One table as the bytes of a file: projected, encoded, described."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.datasets.rows import READERS, bet_rows
from kaizen_analytics.exports import Format, encode_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from kaizen_analytics.datasets.fields import Dataset
    from kaizen_analytics.datasets.wording import Wording
    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.redact.projection import Leaving
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Rows that may leave, of one dataset; `summary` renders them as Markdown."""

    dataset: Dataset
    rows: Sequence[Mapping[str, Leaving]]
    summary: Callable[[], str]

    @property
    def frame(self) -> pl.DataFrame:
        """The rows as a frame of the declared schema."""
        return self.dataset.frame(self.rows)

    def encode(self, form: Format) -> bytes:
        """Return the export as the content of a file."""
        if form is Format.MARKDOWN:
            return self.summary().encode()
        if form is Format.JSON:
            return (json.dumps(self.to_json(), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
        return encode_table(self.frame, form)

    def to_json(self) -> dict[str, Any]:
        """Return the schema's name and version, and the rows."""
        return {"schema": self.dataset.label, "rows": [dict(row) for row in self.rows]}


def make_export(store: Store, name: str, redactor: Redactor, *, now_ms: int, with_text: bool = False) -> Export:
    """Read one of the tables `sessions`, `metrics` and `experiments` of a store.

    Args:
        store: The open store.
        name: The table.
        redactor: Makes the stand-ins, and redacts the text that was asked for.
        now_ms: The time at which running experiments are judged.
        with_text: Let the columns of free text leave, redacted.

    Raises:
        RedactionError: a value has not the declared type.
    """
    from kaizen_analytics.datasets import summaries

    dataset = DATASETS[name]()
    rows = dataset.project(READERS[name](store, now_ms), redactor, with_text=with_text)
    render = {
        "sessions": summaries.render_sessions,
        "metrics": summaries.render_metrics,
        "experiments": summaries.render_experiments,
    }[name]
    return Export(dataset=dataset, rows=rows, summary=lambda: render(rows))


def make_retro_export(retro: Retro, wording: Wording) -> Export:
    """Return the bets of a retro, and the whole of it as Markdown."""
    from kaizen_analytics.datasets.summaries import render_retro

    dataset = DATASETS["bets"]()
    rows = dataset.project(bet_rows(retro, wording), wording.redactor)
    return Export(dataset=dataset, rows=rows, summary=lambda: render_retro(retro, rows, wording))

"""The spool is folded into the store exactly once, whatever killed its writers and readers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store_cases import make_experiment

from benchmarks.bench_hooks import SEED, crash_hooks
from kaizen_analytics.core.errors import VariantConflictError
from kaizen_analytics.core.model import Classification, State
from kaizen_analytics.hook import append_record, draw
from kaizen_analytics.store import Store, manual_tags, save_experiment, tag_session
from kaizen_analytics.store.assignments import count_waiting, fold_spool, read_draws, spool_beside
from kaizen_analytics.store.experiments import write_result

CONTROL, TREATMENT = Classification.CONTROL, Classification.TREATMENT


@pytest.fixture(autouse=True)
def _experiment(store: Store) -> None:
    save_experiment(store, make_experiment(id="e1"))


def drawn(store: Store, session: str, arm: str | None = "Control", experiment: str = "e1", **changes: object) -> None:
    record = {"experiment": experiment, "session": session, "unit": session, "arm": arm, "at_ms": 5, **changes}
    append_record(spool_beside(store.path), record)


def tag_log(store: Store) -> list[tuple[str | None, ...]]:
    return store.native("select session_id, variant from ka_tag_log order by id")


def test_a_drawn_session_is_tagged_with_its_arm_and_a_left_out_one_is_not(store: Store):
    drawn(store, "s1")
    drawn(store, "s2", "Treatment")
    drawn(store, "s3", None, reason="not_launched", unit=None)

    assert count_waiting(store) == 3
    assert fold_spool(store) == 3
    assert count_waiting(store) == 0
    assert manual_tags(store, "e1") == {"s1": CONTROL, "s2": TREATMENT}
    found = [(d.session_id, d.unit, d.arm, d.reason) for d in read_draws(store, "e1")]
    assert found == [("s1", "s1", CONTROL, None), ("s2", "s2", TREATMENT, None), ("s3", None, None, "not_launched")]


def test_a_line_is_folded_once_and_the_first_of_a_session_decides(store: Store):
    drawn(store, "s1")
    drawn(store, "s1", "Treatment")
    assert fold_spool(store) == 1
    drawn(store, "s1", "Treatment")
    drawn(store, "s2")

    assert fold_spool(store) == 1
    assert fold_spool(store) == 0
    assert manual_tags(store, "e1") == {"s1": CONTROL, "s2": CONTROL}
    assert tag_log(store) == [("s1", "Control"), ("s2", "Control")]


def test_a_tag_by_hand_stays_and_the_draw_is_kept_beside_it(store: Store):
    tag_session(store, "e1", "s1", TREATMENT)
    drawn(store, "s1")
    drawn(store, "s2")

    assert fold_spool(store) == 2
    assert manual_tags(store, "e1") == {"s1": TREATMENT, "s2": CONTROL}
    assert [d.arm for d in read_draws(store, "e1")] == [CONTROL, CONTROL]
    with pytest.raises(VariantConflictError):
        tag_session(store, "e1", "s2", TREATMENT)


def test_a_session_of_an_experiment_that_is_over_or_unknown_is_kept_without_a_tag(store: Store):
    import polars as pl

    with store.write():
        write_result(store, "e1", {}, pl.DataFrame(schema={"session_id": pl.String, "variant": pl.String}), 1)
    drawn(store, "s1")
    drawn(store, "s1", experiment="gone")

    assert fold_spool(store) == 2
    assert manual_tags(store, "e1") == {}
    assert [d.session_id for d in read_draws(store, "gone")] == ["s1"]


def test_lines_that_were_cut_off_or_are_no_records_are_counted_and_the_others_folded(store: Store):
    spool = spool_beside(store.path)
    drawn(store, "s1")
    whole = spool.read_bytes()
    spool.write_bytes(
        whole
        + b'\n{"experiment": "e1", "sess'
        + whole.replace(b"s1", b"s2")
        + b"[]\n"
        + b'{"experiment": "e1", "session": "s\\u00003", "arm": "Control", "at_ms": 1}\n'
        + b'{"experiment": "e1", "session": "s4", "arm": "Sideways", "at_ms": 1}\n'
    )

    assert fold_spool(store) == 2
    assert set(manual_tags(store, "e1")) == {"s1", "s2"}
    assert store.native("select n_rejected from ka_spools") == [("4",)]
    assert fold_spool(store) == 0


def test_a_line_that_is_still_being_written_waits(store: Store):
    spool = spool_beside(store.path)
    drawn(store, "s1")
    whole = spool.read_bytes()
    spool.write_bytes(whole[:-1])
    assert fold_spool(store) == 0
    spool.write_bytes(whole)
    assert fold_spool(store) == 1


def test_a_spool_that_began_anew_is_read_from_its_start(store: Store):
    drawn(store, "a long name of a session")
    fold_spool(store)
    spool_beside(store.path).unlink()
    assert fold_spool(store) == 0
    drawn(store, "s2")

    assert fold_spool(store) == 1
    assert set(manual_tags(store, "e1")) == {"a long name of a session", "s2"}


def test_a_fold_that_fails_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch):
    drawn(store, "s1")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kaizen_analytics.store.assignments._write_position", fail)
        with pytest.raises(KeyboardInterrupt):
            fold_spool(store)
    assert (read_draws(store, "e1"), manual_tags(store, "e1")) == ([], {})
    assert fold_spool(store) == 1


def test_a_store_without_a_spool_folds_nothing(store: Store):
    assert (fold_spool(store), count_waiting(store)) == (0, 0)


@pytest.mark.slow
@pytest.mark.long
def test_eight_hooks_at_once_and_sigkill_at_random_lose_and_double_no_acknowledged_session(tmp_path: Path):
    """800 sessions; a quarter of the hooks and each of the folding commands is killed at a random moment."""
    found = crash_hooks(tmp_path, 800)

    assert found.n_killed > 40
    assert len(found.answered) > 400
    assert {session: found.tags[session] for session in found.answered} == found.answered
    assert all(arm == draw(SEED, "bench", session, 0.5) for session, arm in found.tags.items())
    assert sorted(found.tagged) == sorted(found.tags)


def test_the_state_of_the_experiment_is_untouched(store: Store):
    save_experiment(store, replace(make_experiment(id="e1"), state=State.RUNNING))
    drawn(store, "s1")
    fold_spool(store)

    assert store.native("select state from experiments where id = 'e1'") == [("Running",)]

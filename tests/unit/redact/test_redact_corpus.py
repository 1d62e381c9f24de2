"""Every kind in every encoding must go; every negative must stay. Seeds here are for tests only."""

from __future__ import annotations

import random

import pytest

from benchmarks.redaction_corpus import DEVELOPMENT, HELD_OUT, TOKENS, fill, leaks, negatives, positives

SEED = 20_260


def _redact(redactor, samples):
    return [text.decode() for text in redactor.redact_units([sample.text.encode() for sample in samples])]


def test_the_corpus_has_at_least_sixty_kinds_of_structured_secrets():
    kinds = {sample.kind for sample in positives(SEED, {"raw": DEVELOPMENT["raw"]}) if sample.group == "structured"}
    assert len(kinds) >= 60


@pytest.mark.parametrize("encoding", [*DEVELOPMENT, *HELD_OUT])
def test_nearly_every_planted_value_is_gone(redactor, encoding):
    samples = positives(SEED, {encoding: (DEVELOPMENT | HELD_OUT)[encoding]}, rounds=2)
    missed = [
        (sample.kind, sample.text)
        for sample, text in zip(samples, _redact(redactor, samples), strict=True)
        if leaks(sample, text)
    ]
    assert len(missed) <= 0.01 * len(samples), missed


@pytest.mark.parametrize("encoding", [*DEVELOPMENT, *HELD_OUT])
def test_no_negative_changes(redactor, encoding):
    samples = negatives(SEED, {encoding: (DEVELOPMENT | HELD_OUT)[encoding]})
    changed = [
        (sample.text, text)
        for sample, text in zip(samples, _redact(redactor, samples), strict=True)
        if text != sample.text
    ]
    assert changed == []


@pytest.mark.parametrize("kind", sorted(set(TOKENS) - {"unknown vendor"}))
def test_a_token_needs_no_context(redactor, kind):
    rng = random.Random(SEED)
    for form in TOKENS[kind]:
        token = fill(form, rng)
        redacted = redactor.redact(f"see {token} there")
        assert token.removeprefix("AccountKey=") not in redacted
        assert redacted.startswith("see ")
        assert redacted.endswith(" there")


def test_the_redacted_corpus_redacts_to_itself(redactor):
    samples = positives(SEED + 1, DEVELOPMENT) + negatives(SEED + 1, DEVELOPMENT)
    once = redactor.redact_units([sample.text.encode() for sample in samples])
    assert redactor.redact_units(once) == once

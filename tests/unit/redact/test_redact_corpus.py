"""Every kind in every encoding must go; every negative must stay. Seeds here are for tests only."""

from __future__ import annotations

import json
import random

import pytest

from benchmarks.redaction_corpus import DEVELOPMENT, HELD_OUT, TOKENS, fill, leaks, negatives, positives

SEED = 20_260
ENCODINGS = DEVELOPMENT | HELD_OUT


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)], ids=["a third", "all"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nearly_every_planted_value_is_gone_and_all_else_stays(redactor, encoding, every):
    """`make test` takes another third of the kinds in each encoding: it sees every kind and every encoding."""
    first = list(ENCODINGS).index(encoding) % every
    planted, plain = (make(SEED, {encoding: ENCODINGS[encoding]})[first::every] for make in (positives, negatives))
    raw = redactor.redact_units([sample.text.encode() for sample in (*planted, *plain)])
    texts = [text.decode() for text in raw]
    found = zip(planted, texts, strict=False)
    missed = [(sample.kind, sample.text) for sample, text in found if leaks(sample, text)]
    assert len(missed) <= (0.01 if every == 1 else 0.02) * len(planted), missed  # chance in a third
    assert [text for sample, text in zip(plain, texts[len(planted) :], strict=True) if text != sample.text] == []
    assert redactor.redact_units(raw) == raw


def test_a_line_of_json_stays_one(redactor):
    """What is replaced in a text ends with it: the quotation mark and all behind it stay."""
    lines = {"plain": lambda text: json.dumps({"text": text, "last": 1}, ensure_ascii=False)}
    raw = [sample.text.encode() for sample in positives(SEED, lines)]
    assert [text for text in redactor.redact_units(raw) if not text.endswith(b'", "last": 1}')] == []


def test_a_token_needs_no_context(redactor):
    rng = random.Random(SEED)
    tokens = [(kind, fill(form, rng)) for kind in TOKENS if kind != "unknown vendor" for form in TOKENS[kind]]
    redacted = [(kind, token, redactor.redact(f"see {token} there")) for kind, token in tokens]
    assert len({kind for kind, *_ in redacted}) >= 60
    assert [kind for kind, token, text in redacted if token.removeprefix("AccountKey=") in text] == []
    assert [kind for kind, _, text in redacted if not (text.startswith("see ") and text.endswith(" there"))] == []

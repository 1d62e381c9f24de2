from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from benchmarks.redaction_corpus import fill
from kaizen_analytics.redact import redact_tree

SECRET = fill("{an40}", random.Random(5))


class Kind(StrEnum):
    HOME = "/home/maria"


@dataclass(frozen=True, slots=True)
class Leaf:
    text: str
    kind: Kind
    number: float | None

    def __post_init__(self) -> None:
        if "<" in self.text:
            raise ValueError(self.text)


def test_texts_change_at_every_depth_and_nothing_else(redactor):
    tree = {"/home/maria/x": [Leaf("/home/maria/y", Kind.HOME, 1.5), (None, 3, True)]}
    [(key, [leaf, rest])] = redact_tree(redactor, tree).items()
    assert key == redactor.redact("/home/maria/x") != "/home/maria/x"
    assert leaf.text == redactor.redact("/home/maria/y")
    assert (leaf.kind, leaf.number, rest) == (Kind.HOME, 1.5, (None, 3, True))
    assert tree["/home/maria/x"][0].text == "/home/maria/y"


def test_a_secret_that_one_text_names_goes_from_the_others(redactor):
    clean = redact_tree(redactor, MappingProxyType({"a": f"API_KEY={SECRET}", "b": [f"it was {SECRET} then"]}))
    assert SECRET not in str(clean)

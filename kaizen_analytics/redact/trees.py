"""Every text inside a record: its fields, the items of its lists, the keys and values of its mappings."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kaizen_analytics.redact.redactor import redact_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.redact.redactor import Redactor

_Tree = TypeVar("_Tree")


def redact_tree(redactor: Redactor, tree: _Tree) -> _Tree:
    """Return a copy of `tree` in which every text is redacted; numbers, enumerations and the shape stay.

    Texts belong together: a secret that one of them names as such also goes where another holds it bare.
    """
    texts: dict[str, str] = {}
    _rebuild(tree, lambda text: texts.setdefault(text, text))
    clean = dict(zip(texts, redact_many(redactor, list(texts)), strict=True))
    redacted: _Tree = _rebuild(tree, clean.__getitem__)
    return redacted


def _rebuild(node: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - a tree of any records
    if type(node) is str:  # the words of an enumeration are ours
        return change(node)
    if is_dataclass(node) and not isinstance(node, type):
        return _rebuild_record(node, change)
    if isinstance(node, Mapping):
        return {_rebuild(key, change): _rebuild(value, change) for key, value in node.items()}
    if isinstance(node, list | tuple | set | frozenset):
        return type(node)([_rebuild(item, change) for item in node])
    return node


def _rebuild_record(node: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    """Copy a record field by field: its constructor need not accept a placeholder."""
    copied = copy.copy(node)
    for field in fields(node):
        object.__setattr__(copied, field.name, _rebuild(getattr(node, field.name), change))
    return copied

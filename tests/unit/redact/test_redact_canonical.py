from __future__ import annotations

import html
import json
import urllib.parse
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.redact.canonical import remove_invisible, resolve_value, unescape

CONTINUATIONS = [bytes([byte]) for byte in range(0x80, 0xC0)]
ESCAPED = st.lists(
    st.sampled_from(
        [
            "\\n",
            '\\"',
            "\\\\\\/",
            "%20",
            "%zz",
            "&quot;",
            "&#65;",
            "\\u0041",
            "\\u5bc6",
            "&#233;",
            "\\u00",
            "\\x41",
            "\\",
            "%",
            "&",
            "+",
            "a",
            "é",
            " ",
        ],
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    "encode",
    [
        json.dumps,
        lambda text: json.dumps(json.dumps(text)),
        lambda text: json.dumps(json.dumps(json.dumps(text))),
        lambda text: urllib.parse.quote(text, safe=""),
        urllib.parse.quote_plus,
        html.escape,
        lambda text: "".join(f"\\u{ord(character):04x}" for character in text),
        lambda text: "".join(f"&#x{ord(character):x};" for character in text),
    ],
)
def test_one_layer_of_each_notation_is_removed(encode):
    text = "key=\"a/b\" <c> & 'd'"
    view, _ = unescape(encode(text).encode())
    assert text in view.decode()


def test_text_without_escapes_has_no_view():
    assert unescape(b"plain text, 100 % of it") is None
    assert remove_invisible(b"plain text") is None


def test_colours_and_zero_width_characters_disappear():
    view, _ = remove_invisible("\x1b[31mab\x1b[0mc\u200bd\ufeff".encode())
    assert view == b"abcd"


def test_ranges_map_back_to_whole_escapes():
    raw = b'a\\"b%41c'
    view, offsets = unescape(raw)
    assert view == b'a"bAc'
    assert [offsets.to_raw(position) for position in range(6)] == [0, 1, 3, 4, 7, 8]


@given(ESCAPED)
def test_the_offset_map_goes_forth_and_back(text):
    import numpy as np

    raw = text.encode()
    plain = unescape(raw)
    if plain is None:
        return
    view, offsets = plain
    positions = [place for place in range(len(view) + 1) if view[place : place + 1] not in CONTINUATIONS]
    edges = offsets.to_raw(np.array(positions)).tolist()
    assert edges == offsets.to_raw(np.array(positions), after=True).tolist() == sorted(set(edges))
    assert edges[0] == 0
    assert edges[-1] == len(raw)
    for position, (start, end) in zip(positions, pairwise(edges), strict=False):
        assert end - start > 1 or raw[start:end] in (view[position : position + 1], b"+")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zs", "Zl", "Zp", "Mn"]), min_size=1))
def test_every_character_comes_back_as_itself(text):
    for spelt in (json.dumps(text), "".join(f"&#{ord(character)};" for character in text)):
        view, offsets = unescape(spelt.encode()) or (spelt.encode(), None)
        basic = "".join(character for character in text if ord(character) < 0x10000)
        if basic == text and "\\" not in text and "%" not in text and "&" not in text:
            assert text.encode() in view
        if offsets is not None:
            assert offsets.to_raw(len(view), after=True) == len(spelt.encode())


def test_a_boundary_inside_a_character_maps_to_its_escape():
    raw = b"a\\u5bc6b"
    view, offsets = unescape(raw)
    assert view == "a密b".encode()
    assert [(offsets.to_raw(place), offsets.to_raw(place, after=True)) for place in range(1, 5)] == [
        (1, 1),
        (1, 7),
        (1, 7),
        (7, 7),
    ]


@given(ESCAPED)
def test_unit_ends_map_into_the_view(text):
    import numpy as np

    plain = unescape(f"{text}\n{text}".encode())
    if plain is None:
        return
    view, offsets = plain
    [position] = offsets.to_view(np.array([len(text.encode())]))
    assert view[position : position + 1] == b"\n"


@given(st.binary(max_size=300))
def test_any_bytes_can_be_unescaped(raw):
    for plain in (unescape(raw), remove_invisible(raw)):
        if plain is not None:
            view, offsets = plain
            assert offsets.to_raw(len(view)) <= len(raw)


@pytest.mark.parametrize("spelling", [b"jos\\u00e9", b"jos%C3%A9", "josé".encode(), b"jos&eacute;", b"jos\\\\u00e9"])
def test_a_value_resolves_to_the_same_bytes_however_it_is_spelled(spelling):
    assert resolve_value(spelling) == "josé".encode()

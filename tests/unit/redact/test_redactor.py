from __future__ import annotations

import base64
import gzip
import io
import json
import random
import urllib.parse
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.redaction_corpus import TOKENS, fill
from kaizen_analytics.redact import (
    KnownIdentities,
    Pseudonyms,
    Redactor,
    Scanner,
    identities_of_machine,
    redact_lines,
    redact_many,
)
from kaizen_analytics.redact.spans import PLACEHOLDER

RNG = random.Random(7)
REDACTOR = Redactor(Scanner(), Pseudonyms(bytes(32)))
TELLING = (
    "password",
    "token",
    "secret",
    "key",
    "=",
    ": ",
    '"',
    "'",
    "\\",
    "\\n",
    "%3D",
    "&quot;",
    " ",
    "\n",
    "<",
    ">",
    "<R:kv>",
    "<R:us:0123456789>",
    "<R:",
    "://",
    "@",
    "-----BEGIN PRIVATE KEY-----",
    "Authorization: Bearer ",
    "/home/",
    "jane",
    ".com",
    "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ",
    "1",
    "Ab3!xY9_",
    "Cookie: a=",
    "--password ",
    "-u ",
    "eyJ",
    ".",
    "\x1b[31m",
    "\u200b",
    "10.1.2.3",
    "é",
    "&#1;",
    "&#27;[31m",
    "&#xFFFE;",
    "\\u001b[33m",
    "%1B[1m",
    "\x1b]0;",
    "\x07",
    "\0",
    "\x1f",
    "\u2028",
    "==",
    "version ",
    "host=",
    *(fill(forms[0], RNG) for forms in list(TOKENS.values())[::6]),
)
PIECES = st.lists(st.sampled_from(TELLING) | st.text(max_size=4), max_size=14).map("".join)


@given(PIECES)
@example("\\n\x07")  # ends with something invisible
def test_redacting_twice_is_redacting_once(text):
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


@given(st.lists(PIECES, max_size=6))
def test_a_unit_is_redacted_as_if_it_stood_alone(texts):
    units = [text.encode("utf-8", "surrogatepass") for text in texts]
    assert REDACTOR.redact_units(units) == [REDACTOR.redact_units([unit])[0] for unit in units]


@given(st.binary(max_size=400))
def test_any_bytes_pass(raw):
    [redacted] = REDACTOR.redact_units([raw])
    assert redacted.count(b"\n") <= raw.count(b"\n")


@given(PIECES)
def test_what_remains_is_a_part_of_the_text(text):
    once = REDACTOR.redact(text).encode("utf-8", "surrogatepass")
    position = 0
    raw = text.encode("utf-8", "surrogatepass")
    for part in PLACEHOLDER.split(once):
        position = raw.index(part, position) + len(part)


INVISIBLE = {
    "colour": "\x1b[33m",
    "one of 256 colours": "\x1b[38;5;208m",
    "any colour": "\x1b[38;2;255;135;0m",
    "C1 colour": "\x9b31m",
    "title": "\x1b]0;x\x07",
    "NUL": "\0",
    "soft hyphen": "\xad",
    "Arabic letter mark": "\u061c",
    "zero-width space": "\u200b",
    "override": "\u202e",
    "byte order mark": "\ufeff",
    "annotation": "\ufff9",
    "tag": "\U000e0041",
}
LAYERS = {
    "raw": lambda text: text,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "URL": lambda text: urllib.parse.quote(text, safe=""),
    "references": lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    "JSON in a URL": lambda text: urllib.parse.quote(json.dumps(text)),
    "base64": lambda text: base64.b64encode(f"the value is {text} here".encode()).decode(),
    "hex": lambda text: f"the value is {text} here".encode().hex(),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_what_nobody_sees_hides_nothing_in_any_layer(redactor, layer):
    token, encode = fill("ghp_{an36}", random.Random(12)), LAYERS[layer]
    for name, hidden in INVISIBLE.items():
        for spelt in (f"{hidden}{token}{hidden}", token[:9] + hidden + token[9:]):
            assert encode(spelt)[8:-8] not in redactor.redact(encode(f'a "{spelt}" b')), name


PACKED = {
    "gzip in base64": lambda text: base64.b64encode(gzip.compress(text.encode())).decode(),
    "zlib in base64": lambda text: base64.b64encode(zlib.compress(text.encode())).decode(),
    "xxd": lambda text: dump(text, 2),
    "hexdump": lambda text: dump(text, 1),
}


def dump(text: str, group: int) -> str:
    lines = []
    for start in range(0, len(text), 16):
        raw = text[start : start + 16].encode()
        spelt = " ".join(raw[place : place + group].hex() for place in range(0, len(raw), group))
        lines.append(f"{start:08x}{':' if group == 2 else ' '} {spelt:<48} |{raw.decode().translate({10: 46})}|")
    return "\n".join(lines)


@pytest.mark.parametrize("packing", PACKED)
def test_packed_text_that_holds_a_secret_goes_whole(redactor, packing):
    secret = fill("DB_PASSWORD={an16}{d4}", random.Random(13))
    text = PACKED[packing](f"# the settings of the service\n{secret}\nand some more words to the end\n")
    assert redactor.redact(f"before\n{text}\nbehind").strip() in {"before\n<R:en>\nbehind", "before\n<R:en>behind"}
    harmless = PACKED[packing]("# the settings of the service\nmode=fast\nand some more words to the end\n")
    assert redactor.redact(f"before\n{harmless}\nbehind") == f"before\n{harmless}\nbehind"


@pytest.mark.parametrize("line", ["{}", '{{"line": "{}"}}', " 12  {}", "> {}"])
def test_a_private_key_goes_however_its_lines_are_wrapped(redactor, line):
    body = [fill("{B64}", random.Random(number)) for number in range(5)] + [fill("{B30}==", random.Random(9))]
    lines = ["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----"]
    text = "\n".join(["before", *(line.format(part) for part in lines), "behind"])
    whole = redactor.redact(text)
    by_line = b"".join(one.text + one.end for one in redact_lines(io.BytesIO(text.encode()), redactor)).decode()
    for redacted in (whole, by_line):
        assert not [part for part in body if part in redacted]
        assert redacted.startswith("before\n")
        assert redacted.endswith("behind")


def test_references_to_no_character_are_text(redactor):
    text = "x &#0; &#1; &#27; &#xFFFE; &#1114112; &#xD800; &#x10FFFF; y"
    assert redactor.redact(text) == text


def test_json_stays_json(redactor):
    document = {"a": 'x\tjane.doe@corp.io\nset password="Xy7!abcd" done', "cwd": "C:\\Users\\nathan\\src"}
    redacted = json.loads(redactor.redact(json.dumps(document)))
    assert redacted["a"].startswith("x\t<R:em:")
    assert redacted["a"].endswith('password="<R:kv>" done')
    assert "nathan" not in redacted["cwd"]


def test_equal_identities_stay_equal_and_different_ones_differ(redactor):
    first, second, other = redactor.redact("/home/maria/a /Users/Maria/b /home/tomasz/c").split()
    assert first.split("/")[2] == second.split("/")[2]
    assert other.split("/")[2] != first.split("/")[2]


def test_secrets_leave_no_trace_that_could_be_compared(redactor):
    first = redactor.redact('password="Xy7!abcd"')
    assert first == redactor.redact('password="Zz8?wxyz"')


def test_a_secret_that_is_named_once_also_goes_where_it_stands_bare(redactor):
    value = fill("{an20}{d4}", random.Random(3))
    assert value not in redactor.redact(f"API_KEY={value}\n\nlater: found {value}, it seems")


def test_bulk_redaction_spreads_strong_values_to_other_texts(redactor):
    value = fill("{an20}{d4}", random.Random(4))
    texts = [f"export API_KEY={value}", f"got {value} back", "nothing here", "nothing here"]
    redacted = redact_many(redactor, texts)
    assert value not in "".join(redacted)
    assert redacted[2:] == ["nothing here", "nothing here"]


def test_a_weak_value_is_not_spread(redactor):
    redacted = redact_many(redactor, ['password = "monkey1"', "the monkey1 test"])
    assert redacted == ['password = "<R:kv>"', "the monkey1 test"]


def test_known_identities_go_wherever_they_stand():
    known = KnownIdentities.collect(users=["zkowal"], hosts=["atlas7"], names=["Zoe Kowal"], organisations=["acmelabs"])
    redactor = Redactor(Scanner(known), Pseudonyms(bytes(32)))
    redacted = redactor.redact("zkowal met Zoe Kowal of AcmeLabs on atlas7; zkowalski stays")
    assert "zkowalski stays" in redacted
    assert not any(word in redacted.replace("zkowalski", "") for word in ("zkowal", "Zoe", "AcmeLabs", "atlas7"))


def test_only_a_home_folder_is_named_after_an_account():
    for home in ("/srv/team/project", "/data/app", "project", ""):
        assert identities_of_machine({"HOME": home}, "", {}).words == ()
    assert [word for word, _ in identities_of_machine({"HOME": "C:\\Users\\Zoe"}, "", {}).words] == [b"zoe"]


def test_the_machine_is_known_by_its_environment_and_git_settings():
    known = identities_of_machine(
        {"USER": "zkowal", "HOME": "/home/zoe", "LOGNAME": "root"},
        "atlas7.acme.dev",
        {
            "user.name": "Zoe Kowal",
            "user.email": "zoe@kowal.dev",
            "remote.origin.url": "git@git.acme.dev:acmelabs/app.git",
        },
    )
    words = {word for word, _ in known.words}
    assert words == {b"zkowal", b"zoe", b"atlas7.acme.dev", b"atlas7", b"zoe kowal", b"zoe@kowal.dev", b"acmelabs"}


def test_a_long_line_is_scanned_in_windows_that_overlap(redactor):
    secret = fill("ghp_{an36}", random.Random(5))
    for position in (0, (1 << 20) - 20, 1 << 20, (1 << 21) + 5):
        line = b" ".join((b"x" * position, secret.encode(), b"y" * 100_000))
        [redacted] = redactor.redact_units([line])
        assert secret.encode() not in redacted
        assert len(redacted) == len(line) - len(secret) + len("<R:t1>")


def test_the_token_only_scan_finds_vendors_tokens_only():
    token = fill("ghp_{an36}", random.Random(6))
    kinds = {finding.kind for finding in Scanner(tokens_only=True).find(f'password="Xy7!abcd" {token}'.encode())}
    assert kinds == {"github-token"}


REPEATED = """password= ?key= a@ :// -eyJ cookie:_ sk- /home/ \\ \\" %41 &#65; a: 1. -----BEGIN_PRIVATE_KEY-----"""


@pytest.mark.parametrize("repeated", REPEATED.split())
def test_rounds_do_not_grow_with_a_repetitive_text(monkeypatch, repeated):
    rounds = []
    scanner = Scanner()
    find = scanner.find
    monkeypatch.setattr(scanner, "find", lambda *arguments: rounds.append(1) or find(*arguments))
    text = repeated.replace("_", " ").encode() * 400
    Redactor(scanner, Pseudonyms(bytes(32))).redact_units([text])
    assert len(rounds) <= 6


@pytest.mark.parametrize("host", ["github.com", "gitlab.com", "bitbucket.org", "codeberg.org"])
def test_hosts_of_public_remotes_stay(redactor, host):
    assert host in redactor.redact(f"git@{host}:acme-internal/app.git")


def test_a_colour_in_a_neighbour_hides_no_name_in_brackets(redactor):
    message = b"fatal: [murphy-web-36]: UNREACHABLE! => {}"
    alone, beside = redactor.redact_units([message]), redactor.redact_units([b"done[0m", message])
    assert b"murphy" not in alone[0]
    assert beside[1:] == alone

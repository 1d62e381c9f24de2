"""What a name promises about the value beside it, and whether that value is a credential or only stands for one.

The word lists are in `rules/words.toml`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import pairwise

from kaizen_analytics.redact.data import load_bytes, load_data, load_pattern, load_words

PASSWORD_WORDS = load_words("password_words")
SECRET_WORDS = load_words("secret_words")
KEY_QUALIFIERS = load_words("key_qualifiers")
HARMLESS_QUALIFIERS = load_words("harmless_qualifiers")
HARMLESS_ENDS = load_words("harmless_ends")
VENDORS = load_bytes("vendors")
ROLE_ACCOUNTS = load_bytes("role_accounts")
PUBLIC_ORGANISATIONS = load_bytes("public_organisations")
HOST_WORDS = load_bytes("host_words")
MACHINE_AUTHORS = load_bytes("machine_authors")
PUBLIC_FORGES = load_bytes("public_forges")
PERSONAL_QUALIFIERS = load_words("personal_qualifiers")
GIVEN_NAMES = load_bytes("given_names")
RESERVED_DOMAINS = tuple(f".{name}".encode() for name in load_words("reserved_domains"))
COMMON_WORDS = ROLE_ACCOUNTS | PUBLIC_ORGANISATIONS | HOST_WORDS | MACHINE_AUTHORS | VENDORS | load_bytes("no_accounts")
"""What stands where an account could and is none."""
LOOKALIKES = tuple(tuple(pair) for pair in load_words("lookalikes"))
"""Letters of other scripts, and the letters of ASCII that they look like."""


_PLACEHOLDER = load_pattern("placeholder")
_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
_PATTERN = re.compile(rb"\(\?[:=!P]|\\[dwsbDWS]|\[\^?[A-Za-z0-9]-[A-Za-z0-9]|\{[A-Za-z_]\w*\}")
_LONGEST_PASSWORD = 128
_LONGEST_PLACEHOLDER = 128
_OBJECT_ID = load_pattern("object_id")
_UUID = re.compile(rb"(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VERSION = re.compile(rb"[vV^~=<>]{0,2}\d+(?:\.\d+){1,3}(?:[-+.][\w.+-]*)?")
_TIME = re.compile(rb"\d{4}-\d\d-\d\d(?:[T ][\d:.+Z-]*)?|\d{1,2}:\d\d(?::\d\d)?(?:\.\d+)?")
_MEMBER = re.compile(rb"[A-Za-z_$][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)+!?")
_CHAIN = re.compile(rb"(?:[A-Za-z_$][\w$]*\.[\w$.]*=)+[A-Za-z_$][\w$.]*")
_WORDS = re.compile(rb"[a-z]{2,}(?:[-_./: ][a-z0-9]{1,10}){1,8}")
_IDENTIFIER = re.compile(rb"[A-Za-z_\x80-\xff]+")
_PATH = re.compile(rb"/(?:[\w.@-]{1,40}/)*[\w.@-]{0,40}")
_LETTERS_DIGITS = load_pattern("spelt")
_EXPRESSION = re.compile(rb"[\w.+*/-]+")
_ENUM = re.compile(rb"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_NO_PASSWORDS = (_VERSION, _MEMBER, _TIME, _ENUM)


_N_LOG_N = [0.0, *(n * math.log2(n) for n in range(1, 1025))]


def _measure_entropy(value: bytes) -> float:
    """Return the Shannon entropy of the bytes of `value`, in bits a byte.

    >>> _measure_entropy(b"aabb")
    1.0
    """
    size = len(value)
    if size >= len(_N_LOG_N):
        return -sum(n / size * math.log2(n / size) for n in Counter(value).values())
    return math.log2(size) - sum(map(_N_LOG_N.__getitem__, Counter(value).values())) / size if size else 0.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Counts of the kinds of characters in a value."""

    size: int
    digits: int
    upper: int
    lower: int
    entropy: float

    @property
    def letters(self) -> int:
        """Letters of either case."""
        return self.upper + self.lower

    @property
    def symbols(self) -> int:
        """Everything that is neither letter nor digit."""
        return self.size - self.digits - self.letters


def measure_shape(value: bytes) -> Shape:
    """Count the kinds of characters in `value`; the first 512 tell enough about a longer one.

    >>> measure_shape(b"Ab1-").symbols
    1
    """
    value = value[:512]
    digits = len(value) - len(value.translate(None, _DIGITS))
    upper = len(value) - len(value.translate(None, _UPPER))
    lower = len(value) - len(value.translate(None, _LOWER))
    return Shape(len(value), digits, upper, lower, _measure_entropy(value))


def is_placeholder(value: bytes) -> bool:
    """Whether a value only stands for one: a template, a pattern, a reference, a word of documentation.

    >>> is_placeholder(b"<your token>"), is_placeholder(b"hunter2x")
    (True, False)
    """
    if b"<R:" in value or _PATTERN.search(value):
        return True
    return len(value) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.fullmatch(value) is not None


def is_strong(value: bytes) -> bool:
    """Whether a secret may be replaced wherever it stands: long, with digits, and hardly a word by chance.

    >>> is_strong(b"a8Fj2kQ9zLp3"), is_strong(b"password")
    (True, False)
    """
    return len(value) >= 12 and sum(48 <= byte <= 57 for byte in value) >= 2 and _measure_entropy(value) >= 2.8


def is_uuid(value: bytes) -> bool:
    """Whether the whole value has the form of a UUID.

    >>> is_uuid(b"00000000-0000-4000-8000-000000000000")
    True
    """
    return _UUID.fullmatch(value) is not None


def _is_reference(value: bytes, shape: Shape) -> bool:
    """Whether the value names something: an object id, version, time, attribute, path or several words."""
    if _CHAIN.fullmatch(value) or _OBJECT_ID.match(value) or _VERSION.fullmatch(value) or _TIME.fullmatch(value):
        return True
    if _MEMBER.fullmatch(value):
        return shape.digits < 3 or shape.entropy < 3.6
    if _PATH.fullmatch(value):
        return shape.size < 32 or shape.entropy < 4.2 or b"." in value
    named = _WORDS.fullmatch(value) and shape.digits <= 4
    return bool(named) or bool(_ENUM.fullmatch(value) and shape.digits < 4)


_APP_PASSWORD = re.compile(rb"[a-z]{4}(?:-[a-z]{4}){3}")
_LEET = re.compile(rb"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])\w*[A-Za-z]\d[A-Za-z]\w*")
_NUMBERED = load_pattern("numbered_words")


def is_spelt_with_digits(value: bytes) -> bool:
    """Whether digits stand for letters in a word, as people write passwords.

    >>> is_spelt_with_digits(b"min1oSec"), is_spelt_with_digits(b"oauth2Client")
    (True, False)
    """
    return 8 <= len(value) <= 32 and _LEET.fullmatch(value) is not None and _NUMBERED.search(value) is None


def is_password(value: bytes, *, quoted: bool) -> bool:
    """Whether a value named as a password is one; people choose short ones, so little is asked of it.

    >>> is_password(b"hunter2x", quoted=True), is_password(b"required", quoted=True)
    (True, False)
    """
    if len(value) > _LONGEST_PASSWORD or _APP_PASSWORD.fullmatch(value):
        return len(value) <= _LONGEST_PASSWORD or is_secret(value, quoted=quoted)
    shape = measure_shape(value)
    if shape.size < 5 or is_placeholder(value) or any(form.fullmatch(value) for form in _NO_PASSWORDS):
        return False
    if _PATH.fullmatch(value):
        return shape.size >= 24 and shape.entropy >= 4.0
    if shape.letters == shape.size or _IDENTIFIER.fullmatch(value):
        return _is_random_word(value, shape, quoted=quoted)
    if shape.digits:
        return shape.size >= 6 and (quoted or (shape.digits < shape.size and not _LETTERS_DIGITS.fullmatch(value)))
    spelled = _WORDS.fullmatch(value) or not (quoted or shape.upper or not _EXPRESSION.fullmatch(value))
    return shape.letters >= 3 and shape.size >= 8 and not spelled


def _is_random_word(value: bytes, shape: Shape, *, quoted: bool) -> bool:
    """Whether letters alone look drawn at random: capitals in unlikely places and hardly any repetition."""
    if _LETTERS_DIGITS.fullmatch(value) or not (shape.upper and shape.lower):
        return False
    changes = sum(1 for left, right in pairwise(value) if (left < 91) != (right < 91))
    return (
        shape.size >= 8
        and changes >= max(3, shape.size // (5 if quoted else 4))
        and shape.entropy >= (2.8 if quoted else 3.0)
    )


def is_secret(value: bytes, *, quoted: bool) -> bool:
    """Whether a value named as a key, token or secret is one: long enough and random enough.

    >>> is_secret(b"a8Fj2kQ9zLp3", quoted=True), is_secret(b"next-page-token", quoted=True)
    (True, False)
    """
    if len(value) >= 200:
        return len(set(value[:400])) > 20 and b" " not in value
    shape = measure_shape(value)
    if shape.size < 8 or b" " in value or is_placeholder(value) or _is_reference(value, shape):
        return False
    if shape.digits == shape.size:
        return shape.size >= 14
    if shape.letters == shape.size or _IDENTIFIER.fullmatch(value):
        return _is_random_word(value, shape, quoted=quoted) and shape.size >= 16
    return _is_random_mixture(shape)


def _is_random_mixture(shape: Shape) -> bool:
    if shape.size < 12:
        return shape.digits >= 2 and shape.letters >= 2 and shape.entropy >= 2.5
    if shape.digits >= 2:
        return shape.entropy >= 2.6
    if shape.size >= 24 and shape.digits and shape.entropy >= 3.8:
        return True
    return shape.upper >= 2 and shape.lower >= 2 and shape.entropy >= 3.4


def is_random_key(value: bytes) -> bool:
    """Whether the value of a bare `key` or `auth` can hardly be anything but a key: long, mixed, no hash.

    >>> is_random_key(b"a8Fj2kQ9zLp3Xw7Rt5Yu"), is_random_key(b"next-page-token")
    (True, False)
    """
    shape = measure_shape(value)
    return (
        shape.size >= 20
        and shape.digits >= 2
        and shape.upper >= 2
        and shape.lower >= 2
        and shape.entropy >= 3.6
        and not value.startswith((b"sha", b"/", b"http", b"data:"))
        and b"." not in value
        and not is_uuid(value)
        and is_secret(value, quoted=True)
    )


_PERSON = re.compile(
    r"(?:[^\W\d_]\.(?=[ -])|[^\W\d_][\w'\u2019-]{0,30}\.?)(?: (?:[^\W\d_]\.|[^\W\d_][\w'\u2019-]{0,30}\.?)){1,5}"
)
_PARTICLES = load_words("particles")
_BETWEEN_NAMES = re.compile(r" ?[,;\u3001] ?| and | & | und | et | y ")
_EASTERN = re.compile(load_data("patterns")["eastern_name"])
_EAST, _WEST = re.compile(r"[\u3040-\u9fff\uac00-\ud7a3]"), re.compile("[A-Za-z]")
_NO_NAMES = load_words("no_names")
_ACCOUNT = re.compile(rb"[a-z][a-z0-9]{0,20}(?:[._-][a-z0-9]{1,20}){0,3}")
_ONE_NAME = re.compile(r"[^\W\d_](?:[\w'\u2019-]{1,30})")
_PARTS = re.compile(rb"[ ._-]|\d+$")
_LEGAL_FORM = load_pattern("legal_form")


def _is_capitalised(word: str) -> bool:
    return not word[0].islower() and (len(word) < 2 or not word[1:].isupper() or word.isupper())


def is_person(value: bytes) -> bool:
    """Whether these are the names of a person, or of several, and not those of a program or a product.

    >>> is_person(b"Maria Rossi"), is_person(b"Visual Studio Code"), is_person(b"Maria")
    (True, False, False)
    """
    text = value.decode("utf-8", "replace")
    if _EASTERN.fullmatch(text):
        return text not in _NO_NAMES
    parts = _BETWEEN_NAMES.split(text)
    return len(parts) <= 12 and all(map(_is_one_person, parts))


def _is_one_person(text: str) -> bool:
    if not _PERSON.fullmatch(text):
        return False
    names = [word for word in text.split(" ") if word not in _PARTICLES]
    return (
        len(names) >= 2
        and all(map(_is_capitalised, names))
        and any(len(name) > 2 for name in names)
        and not any(word.strip(".").lower().encode() in MACHINE_AUTHORS for word in names)
        and not (_EAST.search(text) and _WEST.search(text))
    )


def is_given_name(value: bytes) -> bool:
    """Whether this is a common given name, perhaps with others behind it.

    >>> is_given_name(b"Maria"), is_given_name(b"Redis")
    (True, False)
    """
    first = value.partition(b" ")[0]
    return first.lower() in GIVEN_NAMES and (value == first or is_person(value)) and first[:1].isupper()


def is_name_part(value: bytes) -> bool:
    """Whether this can be one name of a person: a capitalised word that no program or product has.

    >>> is_name_part(b"Rossi"), is_name_part(b"Dashboard")
    (True, False)
    """
    text = value.decode("utf-8", "replace")
    lowered = text.lower()
    return (
        _ONE_NAME.fullmatch(text) is not None
        and _is_capitalised(text)
        and lowered.encode() not in MACHINE_AUTHORS
        and lowered not in _NO_NAMES
    )


def is_account(value: bytes) -> bool:
    """Whether this may be somebody's account: neither a role nor a word of code.

    >>> is_account(b"mrossi"), is_account(b"platform-team"), is_account(b"root")
    (True, False, False)
    """
    return (
        3 <= len(value) <= 40
        and _ACCOUNT.fullmatch(value) is not None
        and value not in COMMON_WORDS
        and not COMMON_WORDS.intersection(_PARTS.split(value)) - {b""}
        and _VERSION.fullmatch(value) is None
    )


def are_accounts(value: bytes) -> bool:
    """Whether these are several accounts, with commas between them.

    >>> are_accounts(b"mrossi, jdoe"), are_accounts(b"read, write")
    (True, False)
    """
    parts = value.split(b", ")
    return 2 <= len(parts) <= 12 and all(map(is_account, parts))


def is_firm(value: bytes) -> bool:
    """Whether a name has the form of a company's, with what it legally is.

    >>> is_firm(b"Oakley Foundry Ltd"), is_firm(b"Oakley Foundry")
    (True, False)
    """
    return (b" " in value or value[:1] > b"\x7f") and _LEGAL_FORM.fullmatch(value) is not None


def is_organisation(value: bytes) -> bool:
    """Whether this is the name or the slug of a firm, and neither a public one nor a word of code.

    >>> is_organisation(b"Oakley Foundry Ltd"), is_organisation(b"oakley-foundry"), is_organisation(b"my-org")
    (True, True, False)
    """
    if value.lower() in PUBLIC_ORGANISATIONS or is_placeholder(value):
        return False
    if is_firm(value):
        return True
    if value.isupper() and value.isalpha():
        return len(value) >= 4 and value.lower() not in COMMON_WORDS
    parts = re.split(rb"[ ._-]", value.lower())
    own = [part for part in parts if len(part) > 2 and part not in COMMON_WORDS and part not in _TOP_LEVEL]
    slug = _SLUG.fullmatch(value) is not None or (parts[-1] in _TOP_LEVEL and _DOMAIN.fullmatch(value) is not None)
    return bool(own) and (slug or is_person(value))


def is_own_domain(value: bytes) -> bool:
    """Whether a host belongs to a firm of its own and not to a public service.

    >>> is_own_domain(b"mail.brzdata.pl"), is_own_domain(b"smtp.gmail.com"), is_own_domain(b"app.config.host")
    (True, False, False)
    """
    labels = value.lower().split(b".")
    return (
        len(labels) >= 3
        and labels[-1] in _TOP_LEVEL
        and len(labels[-2]) > 3
        and labels[-2] not in COMMON_WORDS
        and labels[-2] not in PUBLIC_DOMAINS
        and _DOMAIN.fullmatch(value) is not None
    )


PUBLIC_DOMAINS = load_bytes("public_domains")
_SLUG = re.compile(rb"[a-z][a-z0-9]+(?:[_-][a-z0-9]+)+")
_DOMAIN = re.compile(rb"(?i)[a-z0-9-]{2,63}(?:\.[a-z0-9-]{2,63}){1,4}")
_TOP_LEVEL = load_bytes("top_level")


def is_tenant(value: bytes) -> bool:
    """Whether this numbers a customer of a cloud: a UUID, or twelve digits that no manual shows.

    >>> is_tenant(b"731904426158"), is_tenant(b"123456789012"), is_tenant(b"42")
    (True, False, False)
    """
    value = value.rpartition(b":")[2] if value[:6].isdigit() else value
    if is_uuid(value):
        return len(set(value)) > 6 and not value.startswith((b"00000000-", b"12345678-", b"xxxx"))
    digits = value.isdigit() and len(value) == 12
    return digits and value not in _EXAMPLE_ACCOUNTS and len(set(value)) > 3


_EXAMPLE_ACCOUNTS = (b"123456789012", b"012345678901", b"111122223333", b"444455556666", b"210987654321")

_PLACE = re.compile(load_data("patterns")["postal_address"])


def is_place(value: bytes) -> bool:
    """Whether this is an address of the post: a street and a number.

    >>> is_place("Lindenstraße 14, 89073 Ulm".encode()), is_place(b"0x0040")
    (True, False)
    """
    return _PLACE.fullmatch(value.decode("utf-8", "replace")) is not None


class Promise(Enum):
    """What a name says about its value."""

    NOTHING = auto()
    PASSWORD = auto()
    SECRET = auto()
    WEAK = auto()  # a bare "key" or "auth": believe only a random value
    ACCOUNT = auto()
    AGENT = auto()  # who did something: an account or a person
    PERSON = auto()
    NAME_PART = auto()
    LABEL = auto()  # a bare "name": believe only what begins with a given name
    HOST = auto()
    ORGANISATION = auto()
    TENANT = auto()
    PLACE = auto()

    @property
    def is_secret(self) -> bool:
        """Whether the value would grant access."""
        return self in (Promise.PASSWORD, Promise.SECRET, Promise.WEAK)


_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_STROKES = str.maketrans({pair[0]: pair[1:] for pair in load_words("strokes")})
_QUALIFIERS = KEY_QUALIFIERS | {vendor.decode() for vendor in VENDORS}


def _fold(text: str) -> str:
    """Return text without accents, which names in one language have in many spellings."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text.translate(_STROKES))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


_WORD_LISTS = {
    Promise.ACCOUNT: "account_names",
    Promise.AGENT: "agent_names",
    Promise.PERSON: "person_names",
    Promise.NAME_PART: "name_parts",
    Promise.HOST: "host_names",
    Promise.ORGANISATION: "organisation_names",
    Promise.TENANT: "tenant_names",
    Promise.PLACE: "place_names",
}
IDENTIFYING_NAMES = sorted(word for name in _WORD_LISTS.values() for word in load_words(name))
"""All names of fields that hold a person, an account, a machine, a firm or an address."""
_IDENTITY_NAMES = {
    promise: frozenset(_fold(word) for word in load_words(name)) for promise, name in _WORD_LISTS.items()
}
_IDENTIFYING = {("secret", "id"), ("session", "id"), ("sess", "id")}


@lru_cache(maxsize=16384)
def judge_name(name: bytes) -> Promise:
    """Return what an identifier such as `DB_PASSWORD`, `apiKey` or `max_tokens` promises about its value.

    >>> judge_name(b"DB_PASSWORD").name, judge_name(b"max_tokens").name, judge_name(b"created_by").name
    ('PASSWORD', 'NOTHING', 'AGENT')
    """
    words = [word.lower() for word in _SPLIT.findall(_fold(name.decode("utf-8", "ignore"))) if not word.isdigit()]
    if not words or _is_random(name):
        return Promise.NOTHING
    if tuple(words[-2:]) in _IDENTIFYING or words[-1] in {"sessionid", "phpsessid", "jsessionid", "sid", "sessid"}:
        return Promise.SECRET
    promise = Promise.NOTHING
    if words[-1] not in HARMLESS_ENDS or words[-2:] == ["pass", "phrase"]:
        promise = _judge_words(words)
        if promise is Promise.WEAK and b"." in name:
            return judge_name(name.rpartition(b".")[2])
    if promise is Promise.NOTHING and words[-1] == "cookie" and len(words) > 1:
        promise = Promise.SECRET
    if promise is Promise.NOTHING:
        promise = _judge_identity(words)
    if promise is Promise.NOTHING and b"." in name:
        return judge_name(name.rpartition(b".")[2])  # `window.API_KEY`
    return promise


def _judge_identity(words: list[str]) -> Promise:
    """Return what the words of a name promise of a person, an account or a machine."""
    joined, before = "".join(words), set(words[:-1])
    if words == ["name"]:
        return Promise.LABEL
    for promise, known in _IDENTITY_NAMES.items():
        if joined in known or joined.removesuffix("s") in known:
            return promise
        if words[-1] in known and before <= PERSONAL_QUALIFIERS:
            return promise
        if "".join(words[-2:]) in known and set(words[:-2]) <= PERSONAL_QUALIFIERS:
            return promise
    if (
        words[-1] == "name"
        and words[-2:-1]
        and words[-2] in _IDENTITY_NAMES[Promise.AGENT] | _IDENTITY_NAMES[Promise.PERSON]
    ):
        return Promise.PERSON
    done = words[-1] == "by" and words[-2:-1] and words[-2].endswith("ed")
    return Promise.AGENT if done and set(words[:-2]) <= PERSONAL_QUALIFIERS else Promise.NOTHING


def _is_random(name: bytes) -> bool:
    """Whether a name is an id rather than words; random letters hold `pw` or `key` by chance."""
    return len(name) >= 20 and sum(48 <= byte <= 57 for byte in name) >= 3


_HUMAN_SECRETS = {"session", "jwt", "cookie", "hmac", "signing", "flask", "nextauth", "auth"}
"""What people protect by a phrase of their own rather than by one that was drawn."""
_PASSES = {"bypass", "compass", "trespass", "overpass", "underpass", "surpass", "encompass", "subpass", "multipass"}


def _judge_words(words: list[str]) -> Promise:
    before = set(words[:-1])
    last = words[-1]
    if any(
        word in PASSWORD_WORDS
        or (word.endswith("pass") and word not in _PASSES)
        or word.endswith(("password", "passwd", "passphrase", "pwd", "pw", "passwort", "kennwort"))
        for word in words
    ) or (last == "secret" and before & _HUMAN_SECRETS):
        return Promise.PASSWORD
    if "secret" in words or "secrets" in words or last.endswith("secret"):
        return Promise.SECRET
    if last.endswith(("token", "tokens")):
        harmless = last.endswith("s") or (before | {last[:-5]}) & HARMLESS_QUALIFIERS
        return Promise.NOTHING if harmless else Promise.SECRET
    if any(word in SECRET_WORDS for word in words):
        return Promise.SECRET if not before & HARMLESS_QUALIFIERS else Promise.WEAK
    if (
        last in {"key", "keys", "auth", "signature", "sig", "seed", "salt", "data", "base", "pem", "pin"}
        or "key" in words
    ):
        return _judge_key(before, words)
    return Promise.NOTHING


def _judge_key(before: set[str], words: list[str]) -> Promise:
    if before & HARMLESS_QUALIFIERS:
        return Promise.NOTHING
    if before & _QUALIFIERS and ("key" in words or "keys" in words):
        return Promise.SECRET
    return Promise.WEAK

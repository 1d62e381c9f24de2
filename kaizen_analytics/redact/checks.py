"""Checks that rules name: whether a match is a value, or a word, a template, a public name or an attribute."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from kaizen_analytics.redact.data import load_bytes, load_pattern
from kaizen_analytics.redact.values import (
    COMMON_WORDS,
    GIVEN_NAMES,
    HOST_WORDS,
    MACHINE_AUTHORS,
    PUBLIC_FORGES,
    PUBLIC_ORGANISATIONS,
    RESERVED_DOMAINS,
    ROLE_ACCOUNTS,
    is_account,
    is_given_name,
    is_name_part,
    is_organisation,
    is_password,
    is_person,
    is_placeholder,
    is_random_key,
    is_secret,
    is_tenant,
    is_uuid,
    measure_shape,
)

_PARTS = re.compile(rb"[._-]")

Check = Callable[["re.Match[bytes]"], bool]

_HOST_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


# Secrets

_EXAMPLE_LOGIN = load_pattern("example_login")


def _is_login(match: re.Match[bytes]) -> bool:
    value = match["value"]
    password = value.partition(b":")[2]
    user = value.partition(b":")[0]
    return not (
        user == password
        or _EXAMPLE_LOGIN.fullmatch(value)
        or b"<R:" in value
        or password.startswith((b"$", b"{", b"<", b"%(", b"*"))
    )


_MASK = re.compile(rb"EXAMPLE(?:KEY)?$|[xX*.]{6,}|([0-9A-Za-z])\1{9,}|(?i:your|my|example)[_-]?(?:token|key|secret)")


def _is_drawn(match: re.Match[bytes]) -> bool:
    """Whether what follows the mark of a vendor was drawn at random, and not masked."""
    return _MASK.search(match[0]) is None


def _has_digit(match: re.Match[bytes]) -> bool:
    return any(48 <= byte <= 57 for byte in match["value"]) and not is_placeholder(match["value"])


def _is_header_value(match: re.Match[bytes]) -> bool:
    value = match["value"]
    if is_placeholder(value) or value.startswith((b"$", b"<", b"{", b"%")) or b"(" in value:
        return False
    if match["scheme"]:
        return _looks_issued(value)
    return is_secret(value, quoted=True)


def _looks_issued(value: bytes) -> bool:
    """Whether a value behind an authentication scheme is a token and not the next word of a sentence."""
    shape = measure_shape(value)
    if shape.digits:
        return shape.size >= 8
    return shape.size >= 16 and shape.upper >= 2 and shape.lower >= 2 and shape.entropy >= 3.2


def _is_bearer(match: re.Match[bytes]) -> bool:
    return not is_placeholder(match["value"]) and _looks_issued(match["value"])


def _is_query_value(match: re.Match[bytes]) -> bool:
    value = match["value"]
    shape = measure_shape(value)
    return (
        shape.size >= 8
        and shape.digits >= 1
        and not is_placeholder(value)
        and not (is_uuid(value) and b"session" in match[0].lower())
        and (shape.digits < shape.size or shape.size >= 16)
    )


def _is_cookie(match: re.Match[bytes]) -> bool:
    return b"<R:" not in match["value"] and _COOKIE_PAIR.search(match["value"]) is not None


_COOKIE_PAIR = re.compile(rb"[\w.-]{1,60}=(?=[\w%+/.~:-]{0,200}\d)[\w%+/=.~:-]{8,}")


def _is_typed_password(match: re.Match[bytes]) -> bool:
    value = match["value"]
    shape = measure_shape(value)
    if is_placeholder(value) or value.startswith((b"$", b"-", b"/", b"{")):
        return False
    return bool(shape.digits or shape.symbols) or (shape.size >= 7 and shape.upper > 0 and shape.lower > 0)


def _is_option_password(match: re.Match[bytes]) -> bool:
    """Whether the argument of `-p` is a password: the option means something else to many commands."""
    value = match["value"]
    shape = measure_shape(value)
    if not _is_typed_password(match) or not shape.letters:
        return False
    return bool(shape.digits) or (shape.size >= 10 and shape.upper >= 3 and shape.lower >= 3 and shape.entropy >= 3.2)


def _is_given(match: re.Match[bytes]) -> bool:
    """Whether a word where only a password can stand is one and not a template."""
    value = match["value"]
    return not is_placeholder(value) and not value.startswith((b"$", b"{", b"<", b"%", b"*"))


def _is_told(match: re.Match[bytes], *, quoted: bool) -> bool:
    """Whether the value behind a name is a password; with words in between it must look like nothing else."""
    value = match["value"].rstrip(b".!?:")
    plain = quoted and not match.groupdict().get("between")
    if value[:1] == b"/" or not _is_given(match) or (not plain and _CODE.search(value)):
        return False
    return is_password(value, quoted=plain)


def _is_striking(match: re.Match[bytes]) -> bool:
    """Whether a word can hardly be anything but a password: letters, digits and a capital or a sign, all mixed."""
    value = match["value"].rstrip(b".!?:").lstrip(b"+>-*")
    if _HEX.fullmatch(value) or is_random_key(value):
        return True
    shape = measure_shape(value)
    if shape.letters < 2 or not shape.digits or _NAMED.match(value) or _CODE.search(value) or b"://" in value:
        return False
    mixed = shape.symbols > 0 or (shape.upper > 0 and shape.lower > 0) or _BETWEEN.search(value)
    return bool(mixed) and is_password(value, quoted=False)


_HEX = re.compile(rb"[0-9a-f]{32,128}")
_BETWEEN = re.compile(rb"[a-z]{2}\d{2,}[a-z]{2}")
_NAMED = load_pattern("named")
_CODE = re.compile(rb"[{}\\]|\w\.\w+\[|\[[_^-]|\]\?|->|::")
_FORMER_HOST = re.compile(rb"://[^\s\"'<>`]{0,512},$")


# People, machines, organisations

_IMPERSONAL = load_pattern("impersonal")


def _is_person(match: re.Match[bytes]) -> bool:
    return _names_somebody(match["value"])


@lru_cache(maxsize=4096)
def _names_somebody(name: bytes) -> bool:
    value = name.strip(b".").lower()
    return (
        len(value) >= 2
        and value not in ROLE_ACCOUNTS
        and b"<" not in value
        and not value.startswith((b"$", b"{", b"%", b"..."))
    )


_NO_DOMAINS = re.compile(rb"(?i)HK(?:LM|CU|CR|U|CC|EY_\w+)|NT|IIS|BUILTIN|REGISTRY|DOMAIN|[A-Z]")
_INTERNAL = re.compile(rb"(?i)\.(?:local|lan|corp|internal|intra|com|net|org|io|de)$")
_TEX = load_pattern("tex_command")


def _is_domain_account(match: re.Match[bytes]) -> bool:
    r"""Whether `DOMAIN\user` is an account, and neither a key of the registry nor a command of TeX."""
    domain, _, account = match["value"].rpartition(b"\\")
    domain = domain.rstrip(b"\\")
    if _NO_DOMAINS.fullmatch(domain) or _TEX.fullmatch(account) or b"<R:" in match[0]:
        return False
    sure = domain.isupper() or domain == b"AzureAD" or match[0].startswith(b"whoami") or _INTERNAL.search(domain)
    if account[:1] in b"nrtx" and not (sure and account.islower()):
        return False  # `\\n` and the like are far more often escapes
    return _names_somebody(account)


def _is_personal_email(match: re.Match[bytes]) -> bool:
    return not _IMPERSONAL.fullmatch(match["value"])


def _is_private_organisation(match: re.Match[bytes]) -> bool:
    return match["value"].lower() not in PUBLIC_ORGANISATIONS


_ATTRIBUTE = load_pattern("attribute")


_CONTAINER = re.compile(rb"[0-9a-f]{12}|[0-9a-f]{64}")


def _is_machine(match: re.Match[bytes]) -> bool:
    value = match["value"].lower()
    if _CONTAINER.fullmatch(value) or value.endswith(RESERVED_DOMAINS):
        return False
    return value not in HOST_WORDS and value not in ROLE_ACCOUNTS and not _ATTRIBUTE.match(value)


def _is_human(match: re.Match[bytes]) -> bool:
    words = re.split(rb"[ \[]", match["value"].lower())
    return not any(word.strip(b".[]") in MACHINE_AUTHORS for word in words)


def _has_own_part(match: re.Match[bytes]) -> bool:
    """Whether a name with marks in it has a part that is no word of computing."""
    parts = [part for part in _NAME_MARKS.split(match["value"].lower()) if len(part) > 2 and not part.isdigit()]
    return any(part not in COMMON_WORDS and part.rstrip(b"0123456789") not in COMMON_WORDS for part in parts)


_NAME_MARKS = re.compile(rb"[._-]")
_HOME_ROOTS = load_bytes("home_roots")
_LINUX_ON_WINDOWS = re.compile(rb"(?i)wsl(?:\$|\.localhost|\+|%2b)")
_AFTER_PLACEHOLDER = re.compile(rb":[0-9a-z]{2,10}>$")


def _is_home(match: re.Match[bytes]) -> bool:
    """Whether this is a home folder: `src/users/list` is not, nor are API routes such as `/users/42`."""
    before = match.string[max(0, match.start() - 14) : match.start()]
    parent = before[len(before.rstrip(_HOST_BYTES)) :]
    if (
        len(parent) > 1
        and parent.lower() not in _HOME_ROOTS
        and not _LINUX_ON_WINDOWS.search(match.string[: match.start()][-60:])
    ):
        return False
    if before[-1:] == b">" and _AFTER_PLACEHOLDER.search(before):
        return False
    return b"/users/" not in match[0] or before[-1:].isalpha() or before[-1:] == b":"


_OF_EVERY_CLUSTER = (b".svc.cluster.local", b".docker.internal", b"metadata.google.internal", b"kubernetes.default.svc")


def _is_named_host(value: bytes) -> bool:
    """Whether a dotted name is a host and not an attribute such as `threading.local` or `crate.internal`."""
    if value.endswith(_OF_EVERY_CLUSTER):
        return False
    first, _, rest = value.partition(b".")
    labels = value.split(b".")
    return (
        b"-" in first
        or len(labels) >= 3
        or any(48 <= byte <= 57 for byte in first)
        or not rest.startswith((b"local", b"internal", b"private"))
    )


# Check digits of personal data

_VERHOEFF = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678", "5987604321", "6598710432", "7659821043",
    "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_TURNS = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in re.findall(r"(\d\d) ([A-Z\s]+)", """
        15 NO  16 BE  18 DK FI FO GL NL SD FK  19 MK SI  20 AT BA EE KZ LT LU XK MN  21 CH HR LI LV  22 BG BH CR DE GB
        GE IE ME RS VA  23 AE GI IL IQ OM SO TL  24 AD CZ ES MD PK RO SA SE SK TN VG DZ  25 LY PT ST  26 IS TR  27 BI
        DJ FR GR IT MC MR SM  28 AL AZ BY CY DO GT HU LB NI PL SV  29 BR EG PS QA UA  30 JO KW MU  31 MT SC  32 LC
        33 RU""")
    for country in countries.split()
}  # fmt: skip


def _digits(match: re.Match[bytes]) -> list[int]:
    return [byte - 48 for byte in match["value"] if 48 <= byte <= 57]


def _weigh(digits: list[int], weights: Iterable[int]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, weights, strict=False))


def _is_luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(match: re.Match[bytes]) -> bool:
    text = match["value"].replace(b" ", b"").decode()
    if _IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(letter, 36)) for letter in text[4:] + text[:4])) % 97 == 1


# At the start of a line, where a diff has a sign: long enough, and of a country with many numbers.
_MOBILE = re.compile(rb"\+(?:3[0-469]|4[0134-9]|5[1-8]|6[0-6]|8[1246]|9[0-48]|35\d|42\d|7)\d{8,11}")


def _is_phone(match: re.Match[bytes]) -> bool:
    """Whether digits are a telephone number: of the length of one, and not the next line of a diff."""
    value, digits = match["value"], _digits(match)
    if (
        not 7 <= len(digits) <= 15
        or len(set(digits)) < 3
        or re.fullmatch(rb"\+?(?:19|20)\d\d[-./]\d\d?[-./]\d\d?", value)
    ):
        return False
    if re.fullmatch(rb"\+\d+\.\d+|\+?\d{1,3}(?:\.\d{1,3}){3}", value):
        return False
    if value.startswith(b"+1") and (len(digits) != 11 or digits[1] < 2):
        return False
    if value.startswith(b"+") and value[1:].isdigit():
        before = match.string[max(0, match.start("value") - 1) : match.start("value")]
        return len(digits) >= 10 and (before not in (b"", b"\n") or _MOBILE.fullmatch(value) is not None)
    return not value.isdigit() or len(digits) >= 9 or value.startswith(b"0")


def _is_resident(match: re.Match[bytes]) -> bool:
    weights = [2**power % 11 for power in range(17, 0, -1)]
    total = _weigh([byte - 48 for byte in match["value"][:17]], weights)
    return b"10X98765432"[total % 11] == match["value"].upper()[17]


def _is_verhoeff(match: re.Match[bytes]) -> bool:
    state = 0
    for place, digit in enumerate(reversed(_digits(match))):
        state = int(_VERHOEFF[state][int(_VERHOEFF_TURNS[place % 8][digit])])
    return state == 0


def _is_nir(match: re.Match[bytes]) -> bool:
    text = match["value"].replace(b" ", b"").replace(b"2A", b"19").replace(b"2B", b"18")
    return len(text) == 15 and text.isdigit() and 97 - int(text[:13]) % 97 == int(text[13:])


def _is_nordic(match: re.Match[bytes]) -> bool:
    digits = _digits(match)
    letter = match["value"][-1:]
    finnish = int(match["value"].translate(None, b"+-A")[:9]) % 31
    return _is_luhn(digits[-10:]) or letter == b"0123456789ABCDEFHJKLMNPRSTUVWXY"[finnish : finnish + 1]


def _is_number(match: re.Match[bytes]) -> bool:
    """Whether what follows the name of a number is one and not a date or a placeholder."""
    return len(set(match["value"])) > 2 and not re.fullmatch(rb"\d{4}-\d\d-\d\d.*|\d+\.\d{4,}.*", match["value"])


def _is_spanish_number(match: re.Match[bytes]) -> bool:
    value = match["value"].upper().replace(b"-", b"").translate(bytes.maketrans(b"XYZ", b"012"))
    return b"TRWAGMYFPDXBNJZSQVHLCKE"[int(value[:-1]) % 23] == match["value"].upper()[-1]


CHECKS: dict[str, Check] = {
    "drawn": _is_drawn,
    "random-key": lambda match: is_random_key(match["value"]),
    "login": _is_login,
    "digit": _has_digit,
    "header-value": _is_header_value,
    "random": lambda match: is_uuid(match["value"]) or is_secret(match["value"], quoted=True),
    "issued": _is_bearer,
    "query-value": _is_query_value,
    "cookie": _is_cookie,
    "typed-password": _is_typed_password,
    "option-password": _is_option_password,
    "given-password": _is_given,
    "named-secret": lambda match: _is_told(match, quoted=True),
    "told-password": lambda match: _is_told(match, quoted=False),
    "striking": _is_striking,
    "pin": lambda match: len(set(match["value"])) > 1 and not re.fullmatch(rb"(?:19|20)\d\d", match["value"]),
    "further-host": lambda match: _FORMER_HOST.search(match.string[: match.start()][-600:]) is not None,
    "luhn": lambda match: _is_luhn(_digits(match)) and (len(_digits(match)) < 19 or match["value"][:1] in b"46"),
    "iban": _is_iban,
    "phone": _is_phone,
    "resident": _is_resident,
    "verhoeff": _is_verhoeff,
    "nir": _is_nir,
    "nordic": _is_nordic,
    "number": _is_number,
    "dni": _is_spanish_number,
    "domain-account": _is_domain_account,
    "personal-email": _is_personal_email,
    "person": _is_person,
    "private-organisation": _is_private_organisation,
    "private-forge": lambda match: match["value"].lower() not in PUBLIC_FORGES,
    "human": _is_human,
    "somebody-named": lambda match: is_person(match["value"]),
    "own-account": lambda match: _has_own_part(match) and _is_person(match),
    "own-machine": lambda match: _has_own_part(match) and _is_machine(match),
    "tenant": lambda match: is_tenant(match["value"]),
    "organisation": lambda match: is_organisation(match["value"]),
    "firm-or-person": lambda match: is_organisation(match["value"]) or is_given_name(match["value"]),
    "account": lambda match: is_account(match["value"]),
    "somebody": lambda match: is_account(match["value"]) or is_person(match["value"]),
    "given-name": lambda match: is_given_name(match["value"]),
    "name-part": lambda match: is_name_part(match["value"]) or is_person(match["value"]),
    "given-account": lambda match: _PARTS.split(match["value"])[0] in GIVEN_NAMES and is_account(match["value"]),
    "machine": _is_machine,
    "home": lambda match: _is_person(match) and _is_home(match),
    "named-host": lambda match: _is_machine(match) and _is_named_host(match["value"]),
    "login-account": lambda match: (
        _is_person(match) and match["value"] not in {b"git", b"npm", b"pkg", b"oauth2", b"x-access-token"}
    ),
}
"""What the field `check` of a rule may name."""

"""People, machines and organisations: told by their form, or known beforehand from this machine.

Accounts that every machine has (`root`, `ubuntu`, `runner`), loopback addresses and well-known public
organisations name nobody; they stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.rules import Rule
from kaizen_analytics.redact.vocabulary import (
    HOST_WORDS,
    MACHINE_AUTHORS,
    PUBLIC_FORGES,
    PUBLIC_ORGANISATIONS,
    ROLE_ACCOUNTS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EMAIL = re.compile(
    rb"(?<![A-Za-z0-9._%+\-\x80-\xff])[A-Za-z0-9\x80-\xff][A-Za-z0-9._%+'\-\x80-\xff]{0,63}@(?:"
    rb"[A-Za-z0-9\x80-\xff-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])",
)
_IMPERSONAL = re.compile(
    rb"(?i)(?:git|hg|svn|noreply|no-reply|donotreply|do-not-reply)@.*|.*@(?:users\.noreply\.github\.com"
    rb"|noreply\.\S+|sha256|v\d.*)"
    rb"|(?:user|test|foo|name|you|your|email|someone|me|example|yourname|your\.name|your-email|username)@"
    rb"(?:example|domain|company|email|test|bar|yourdomain|mail)\.(?:com|org|net|co|io)"
    rb"|.*\.(?:png|jpe?g|gif|svg|webp|js|ts|css|json|ya?ml|md|py|rs|go|zip|whl|tgz|lock|html)",
)
_WORD_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
_HOST_BYTES = _WORD_BYTES + b".-"
_MAILBOX_BYTES = _HOST_BYTES + b"%+" + bytes(range(0x80, 0x100))
_SLASHES = b"/\\"
_NAME_CHARACTERS = rb"[^\s/\\\"'<>:|)\]},;`&?*(${%#=!]"


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


def _is_personal_email(match: re.Match[bytes]) -> bool:
    return not _IMPERSONAL.fullmatch(match["value"])


def _is_private_organisation(match: re.Match[bytes]) -> bool:
    return match["value"].lower() not in PUBLIC_ORGANISATIONS


_ATTRIBUTE = re.compile(
    rb"\$|127\.|0\.0\.|(?:os|socket|config|self|this|opts|options|args|settings|req|request|url|env|process)\."
    rb"|.*hostname"
)


def _is_machine(match: re.Match[bytes]) -> bool:
    value = match["value"].lower()
    return value not in HOST_WORDS and value not in ROLE_ACCOUNTS and not _ATTRIBUTE.match(value)


_PERSON_WORD = rb"[A-Z\xc3-\xdf][A-Za-z'\x80-\xff-]{0,30}\.?"
_PERSON = _PERSON_WORD + rb"(?: " + _PERSON_WORD + rb"){1,4}"


def _is_human(match: re.Match[bytes]) -> bool:
    words = re.split(rb" ", match["value"].lower())
    return not any(word.strip(b".[]") in MACHINE_AUTHORS for word in words)


RULES: tuple[Rule, ...] = (
    Rule(
        kind="email",
        category=Category.EMAIL,
        anchors=(b"@",),
        pattern=re.compile(rb"(?P<value>" + EMAIL.pattern + rb")"),
        left=_MAILBOX_BYTES,
        gate=re.compile(rb"@[A-Za-z0-9\x80-\xff-]{1,63}\."),
        before=65,
        after=300,
        group="value",
        accept=_is_personal_email,
    ),
    Rule(
        kind="home-folder",
        category=Category.USER,
        anchors=(
            b"/home/",
            b"/users/",
            b"/home\\",
            b"/users\\",
            b"\\users\\",
            b"\\home\\",
            b"\\users/",
            b"documents and settings",
        ),
        pattern=re.compile(
            rb"(?i:[\\/]{1,64}(?:home|users)|documents and settings)[\\/]{1,64}"
            rb"(?P<value>" + _NAME_CHARACTERS + rb"{1,64}(?: [A-Z][\w.-]{0,30}(?=[\\/]))?)",
        ),
        left=_SLASHES,
        before=64,
        after=260,
        group="value",
        accept=lambda match: _is_person(match) and _is_home(match),
    ),
    Rule(
        kind="home-folder-slug",
        category=Category.USER,
        anchors=(b"-users-", b"-home-"),
        pattern=re.compile(
            rb"(?i)(?<![a-z0-9])-{1,2}(?:users|home)-(?P<value>[^\s/\\\"'<>:|)\]},;`.-]{2,64})(?=-[A-Za-z]|"
            rb"[/\"'\s.\\]|$)"
        ),
        before=3,
        left=b"-",
        after=140,
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="temporary-folder",
        category=Category.USER,
        anchors=(b"/var/folders/",),
        pattern=re.compile(rb"/var/folders/(?P<value>[\w+]{2}/[\w+]{10,64})"),
        group="value",
    ),
    Rule(
        kind="run-user",
        category=Category.USER,
        anchors=(b"/media/", b"/var/mail/", b"/var/spool/cron/"),
        pattern=re.compile(
            rb"(?<![\w.-])/(?:media|var/mail|var/spool/cron/crontabs|var/spool/cron)/(?P<value>[a-z]"
            rb"[\w.-]{1,32})(?=/|\s|$|[\"'])"
        ),
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="git-remote",
        category=Category.ORGANISATION,
        anchors=(b"git@", b"ssh://", b"org-"),
        pattern=re.compile(
            rb"(?:ssh://)?(?:git|org-\d+)@[\w.-]{1,100}(?::\d{1,5}/|:|/)(?:v3/|scm/|~)?(?P<value>[\w.-]{1,64}"
            rb"(?:/[\w.-]{1,64}){0,4}?)(?=/[\w.-]+)"
        ),
        group="value",
        accept=_is_private_organisation,
    ),
    Rule(
        kind="git-remote-host",
        category=Category.HOST,
        anchors=(b"git@", b"org-"),
        pattern=re.compile(
            rb"(?:git|org-\d+)@(?P<value>(?:[\w-]{1,63}\.){1,6}[A-Za-z]{2,24})(?=:\d{1,5}/|:[\w~]|/[\w~])"
        ),
        group="value",
        accept=lambda match: match["value"].lower() not in PUBLIC_FORGES,
    ),
    Rule(
        kind="git-remote-url",
        category=Category.ORGANISATION,
        anchors=(b"github.", b"gitlab.", b"bitbucket.", b"codeberg.", b"dev.azure.com", b"gitea."),
        pattern=re.compile(
            rb"(?i)(?<=[/@.])(?:github|gitlab|bitbucket|codeberg|gitea)\.[a-z0-9.-]{2,60}(?::\d{1,5})?/(?:scm/"
            rb"|orgs/)?(?P<value>[\w.-]{1,64})(?=/[\w.-]+)",
        ),
        group="value",
        accept=_is_private_organisation,
    ),
    Rule(
        kind="azure-devops-remote",
        category=Category.ORGANISATION,
        anchors=(b"dev.azure.com/", b".visualstudio.com"),
        pattern=re.compile(rb"(?:dev\.azure\.com[/:](?:v3/)?(?P<value>[\w.%-]{1,64}))(?=/)"),
        group="value",
    ),
    Rule(
        kind="author",
        category=Category.NAME,
        anchors=(
            b"author",
            b"committer",
            b"signed-off-by",
            b"reviewed-by",
            b"acked-by",
            b"tested-by",
            b"reported-by",
            b"tagger",
            b"maintainer",
            b"merge:",
            b"commit:",
        ),
        pattern=re.compile(
            rb"(?i:authored-by|author|committer|commit|signed-off-by|reviewed-by|acked-by|tested-by|reported-by"
            rb"|tagger|maintainers?|merge)"
            rb"(?i:date|name)?[\"']?[ \t]{0,3}[:=]?[ \t]{1,8}[\"']?(?P<value>"
            + _PERSON
            + rb"|[^<>\"'\r\n:\\]{2,60}?(?= <))(?=[ ]{0,3}(?:[<\"'(\r\n\\]|$|&lt;))",
        ),
        group="value",
        accept=_is_human,
    ),
    Rule(
        kind="named-mailbox",
        category=Category.NAME,
        anchors=(b" <",),
        pattern=re.compile(rb"[^<>@]{0,100}?(?<![\w.])(?P<value>" + _PERSON + rb") <(?=[\w.%+-]{1,64}@)"),
        gate=re.compile(rb" <[\w.%+-]{1,64}@"),
        before=100,
        left=_MAILBOX_BYTES + b" '",
        group="value",
        accept=_is_human,
    ),
    Rule(
        kind="git-configuration",
        category=Category.NAME,
        anchors=(
            b"user.name",
            b"author_name",
            b"committer_name",
            b"full_name",
            b"fullname",
            b"real_name",
            b"author.name",
            b"git_author",
            b"real name",
            b"first_name",
            b"last_name",
            b"authorname",
            b"committername",
            b"gecos",
        ),
        pattern=re.compile(
            rb"(?i:user\.name|author_name|committer_name|full_?name|real[_ ]name|author\.name"
            rb"|git_author_name|first_name|last_name|authorname|committername|gecos)"
            rb"[\"']?\s{0,4}[=:]?\s{0,4}[\"']?(?P<value>(?:"
            + _PERSON_WORD
            + rb")(?: "
            + _PERSON_WORD
            + rb"){0,4})(?=[\"'\r\n\\,;&]|$)",
        ),
        group="value",
        accept=_is_human,
    ),
    Rule(
        kind="account-variable",
        category=Category.USER,
        anchors=(b"user=", b"username=", b"logname=", b"actor=", b"gitlab_user_login="),
        pattern=re.compile(
            rb"(?<![A-Za-z0-9_])(?:SUDO_USER|USER|USERNAME|LOGNAME|GITHUB_ACTOR|GITLAB_USER_LOGIN)=[\"']?"
            rb"(?P<value>[A-Za-z][\w.-]{1,40})",
        ),
        before=12,
        left=_WORD_BYTES,
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="account-field",
        category=Category.USER,
        anchors=(b"username", b"user_name", b"login", b"account_name"),
        pattern=re.compile(
            rb"(?i)(?:user_?name|user_login|login|account_name)[\"']\s{0,3}:\s{0,3}[\"'](?P<value>[A-Za-z]"
            rb"[\w.-]{1,40})(?=[\"'])",
        ),
        before=6,
        left=_WORD_BYTES,
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="account-id",
        category=Category.USER,
        anchors=(b"uid=",),
        pattern=re.compile(rb"uid=\d{1,10}\((?P<value>[A-Za-z_][\w.-]{0,32})\)"),
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="host-name",
        category=Category.HOST,
        anchors=(
            b"hostname",
            b"host_name",
            b"nodename",
            b"computername",
            b"computer_name",
            b"machine_name",
            b"machinename",
            b"host:",
            b"host=",
        ),
        pattern=re.compile(
            rb"(?i)(?:hostname|host_name|nodename|computer_?name|machine_?name|(?<![a-z0-9._-])host)"
            rb"[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
            rb"(?P<value>(?=[A-Za-z0-9.-]*[-\d])[A-Za-z][A-Za-z0-9-]{1,62}(?:\.[A-Za-z0-9-]{1,63}){0,6})(?="
            rb"[\"'\s,;&:\\+/<]|$)",
        ),
        group="value",
        accept=_is_machine,
    ),
    Rule(
        kind="machine-name",
        category=Category.HOST,
        anchors=(
            b"macbook",
            b"imac",
            b"mac-mini",
            b"mac-studio",
            b"desktop-",
            b"laptop",
            b"thinkpad",
            b"workstation",
            b"-pc",
            b"-mbp",
            b"xps",
            b"surface-",
            b"win-",
        ),
        pattern=re.compile(
            rb"(?<![\w.-])(?P<value>[A-Za-z0-9-]{0,40}(?i:macbook(?:-?(?:pro|air))?|imac|mac-mini|mac-studio"
            rb"|thinkpad|-mbp|-pc)(?:-[A-Za-z0-9]{1,20}){0,3}(?:\.(?:local|lan|home|localdomain|fritz\.box))"
            rb"|[A-Za-z0-9]{1,30}s?-(?i:macbook|imac|mac-mini|mac-studio|thinkpad|laptop|mbp|workstation"
            rb"|desktop|pc)(?:-(?i:pro|air|max|mini|[a-z0-9]{1,3})){0,3}"
            rb"|(?:DESKTOP|LAPTOP|WIN|PC)-(?=[A-Z0-9]*\d)[A-Z0-9]{6,15})(?![\w-])",
        ),
        before=45,
        left=_WORD_BYTES + b"-",
        group="value",
        accept=_is_machine,
    ),
    Rule(
        kind="internal-host",
        category=Category.HOST,
        anchors=(
            b".local",
            b".lan",
            b".internal",
            b".corp",
            b".intranet",
            b".intra",
            b".localdomain",
            b".home.arpa",
            b".fritz.box",
            b".private",
            b".ts.net",
        ),
        pattern=re.compile(
            rb"(?<![\w.\\-])(?<!from )(?<!import )(?P<value>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}"
            rb"(?:local|lan|localdomain|home\.arpa|fritz\.box|private|ts\.net"
            rb"|(?:internal|corp|intranet|intra)(?:(?:\.[a-z0-9-]{2,40})?\.(?:com|net|org|io|dev|cloud|local|lan))?))"
            rb"(?![\w(-]|\.[A-Za-z])",
        ),
        left=_HOST_BYTES,
        before=200,
        group="value",
        accept=lambda match: _is_machine(match) and _is_named_host(match["value"]),
    ),
    Rule(
        kind="cloud-instance",
        category=Category.HOST,
        anchors=(b"ip-", b"ec2-"),
        pattern=re.compile(
            rb"(?<![\w-])(?P<value>(?:ip|ec2)-\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3}(?:\.[a-z0-9-]{2,40}){0,5})"
        ),
        group="value",
    ),
    Rule(
        kind="remote-login",
        category=Category.USER,
        anchors=(b"@",),
        pattern=re.compile(
            rb"(?<![\w.+/@:-])(?P<value>[a-z][\w-]{0,30}(?:\.[\w-]{1,30})?)@(?=(?:[A-Za-z0-9-]{1,63}(?:\."
            rb"[A-Za-z0-9-]{1,63}){0,5}:[~/\w.][^\s]{0,200}|(?:\d{1,3}\.){3}\d{1,3}|[A-Za-z0-9-]{2,63}(?::| ~"
            rb"|\s[\w~/.-]{1,60} ?[%$#])))",
        ),
        left=_HOST_BYTES,
        gate=re.compile(rb"@[A-Za-z0-9.-]{2,120}(?::| ~|\s[\w~/.-]{1,60} ?[%$#]|(?<=\d))"),
        before=64,
        group="value",
        accept=lambda match: _is_person(match) and match["value"] not in {b"git", b"npm", b"pkg"},
    ),
    Rule(
        kind="remote-login-host",
        category=Category.HOST,
        anchors=(b"@",),
        pattern=re.compile(
            rb"(?<![\w.+/@:-])[a-z][\w.-]{0,60}@(?P<value>(?=[A-Za-z0-9-]*[-\d])[A-Za-z][A-Za-z0-9-]{2,62}|"
            rb"[A-Za-z0-9-]{2,63}(?=:[~/]))(?=:[~/\w]| ~|\s[\w~/.-]{1,60} ?[%$#])",
        ),
        left=_HOST_BYTES,
        gate=re.compile(rb"@[A-Za-z0-9.-]{2,120}(?::| ~|\s[\w~/.-]{1,60} ?[%$#])"),
        before=64,
        group="value",
        accept=_is_machine,
    ),
    Rule(
        kind="login-command",
        category=Category.USER,
        anchors=(b"ssh ", b"scp ", b"sftp ", b"rsync ", b"ssh-copy-id "),
        pattern=re.compile(
            rb"(?:ssh|scp|sftp|rsync|ssh-copy-id)\b[^\n|;&]{0,200}? (?P<value>[a-z][\w.-]{1,40})@(?=[\w.-]+)"
        ),
        group="value",
        accept=_is_person,
    ),
    Rule(
        kind="login-command-host",
        category=Category.HOST,
        anchors=(b"ssh ", b"scp ", b"sftp ", b"rsync ", b"ssh-copy-id "),
        pattern=re.compile(
            rb"(?:ssh|scp|sftp|rsync|ssh-copy-id)\b[^\n|;&]{0,200}? [a-z][\w.-]{1,40}@(?P<value>[A-Za-z]"
            rb"[\w-]{1,62}(?:\.[\w-]{1,63}){0,6})"
        ),
        group="value",
        accept=_is_machine,
    ),
    Rule(
        kind="file-owner",
        category=Category.USER,
        anchors=(b"rwx", b"rw-", b"r--"),
        pattern=re.compile(
            rb"[dlcbsp-](?:[r-][w-][xsStT-]){3}[@+.]?[ ]{1,6}\d{1,6}[ ]{1,6}(?P<value>[A-Za-z_][\w.-]{1,32})"
            rb"[ ]{1,12}[A-Za-z_]"
        ),
        before=12,
        left=b"bcdlpsrwxStT-",
        group="value",
        accept=_is_person,
    ),
)


_HOME_ROOTS = frozenset(b"var export usr data mnt net nfs private rootfs hostfs host volumes".split())
_AFTER_PLACEHOLDER = re.compile(rb":[0-9a-z]{2,10}>$")


def _is_home(match: re.Match[bytes]) -> bool:
    """Whether this is a home folder: `src/users/list` is not, nor are API routes such as `/users/42`."""
    before = match.string[max(0, match.start() - 14) : match.start()]
    parent = before[len(before.rstrip(_HOST_BYTES)) :]
    if len(parent) > 1 and parent.lower() not in _HOME_ROOTS:
        return False
    if before[-1:] == b">" and _AFTER_PLACEHOLDER.search(before):
        return False
    return b"/users/" not in match[0] or before[-1:].isalpha() or before[-1:] == b":"


def _is_named_host(value: bytes) -> bool:
    """Whether a dotted name is a host and not an attribute such as `threading.local` or `crate.internal`."""
    first, _, rest = value.partition(b".")
    labels = value.split(b".")
    return (
        b"-" in first
        or len(labels) >= 3
        or any(48 <= byte <= 57 for byte in first)
        or not rest.startswith((b"local", b"internal", b"private"))
    )


ADDRESS = re.compile(
    rb"(?<![\w.:%-])(?<!%[0-9A-Fa-f])(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![\w-]|\.\w)",
)
_NOBODY = re.compile(
    rb"(?:0|127|255)\..*|(?:\d+\.){1,2}0\.0(?:\.0)?|1\.1\.1\.1|1\.0\.0\.1|8\.8\.8\.8|8\.8\.4\.4|9\.9\.9\.9"
    rb"|169\.254\.169\.254|\d\.\d\.\d\.\d+|(?:.*\.)?0\d+(?:\..*)?"
)
_VERSION_BEFORE = re.compile(
    rb"(?i)(?:[a-z][\w-]{0,30}/|version[\"']?[ :=v\"']{0,5}|ver\.?[ :=]{0,2}|v|[=<>~^!]=\s?|[~^]|@|release[ :]"
    rb"|build[ :]|assembly\w{0,20}[\"'(:= ]{0,4}|==|rev[ :]|section |chapter |rfc )$",
)
ADDRESS_6 = re.compile(
    rb"(?<![\w:.])(?:(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}|(?:[0-9a-fA-F]{1,4}:){1,6}(?::"
    rb"[0-9a-fA-F]{1,4}){1,6}|(?:[0-9a-fA-F]{1,4}:){2,7}:)(?![\w:])",
)
MAC = re.compile(rb"(?<![\w:-])[0-9a-fA-F]{2}(?P<mark>[:-])[0-9a-fA-F]{2}(?:(?P=mark)[0-9a-fA-F]{2}){4}(?![\w:-])")


def is_machine_address(view: bytes, start: int, end: int) -> bool:
    """Whether a dotted quad is the address of a machine: not loopback, not a public resolver, not a version."""
    value = view[start:end]
    if _NOBODY.fullmatch(value):
        return False
    return not _VERSION_BEFORE.search(view[max(0, start - 36) : start]) or view[max(0, start - 2) : start] == b"//"


def is_machine_address_6(value: bytes) -> bool:
    """Whether an IPv6 form is long enough to be one and not loopback, a time or a mere prefix."""
    return (
        value.count(b":") >= 3
        and len(value) >= 8
        and any(byte in b"abcdefABCDEF" or byte == 58 for byte in value)
        and value.lower() != b"fe80::1"
    )


@dataclass(frozen=True, slots=True)
class KnownIdentities:
    """Words that are identities on this machine, whatever stands around them, and what each is."""

    words: tuple[tuple[bytes, Category], ...] = ()

    @classmethod
    def collect(
        cls,
        *,
        users: Iterable[str] = (),
        names: Iterable[str] = (),
        hosts: Iterable[str] = (),
        emails: Iterable[str] = (),
        organisations: Iterable[str] = (),
    ) -> KnownIdentities:
        """Keep what is distinctive enough to search for: three bytes or more, no role account, no public name."""
        groups = (
            (emails, Category.EMAIL),
            (names, Category.NAME),
            (hosts, Category.HOST),
            (organisations, Category.ORGANISATION),
            (users, Category.USER),
        )
        kept: dict[bytes, Category] = {}
        for values, category in groups:
            for value in values:
                word = value.strip().lower().encode("utf-8", "replace")
                if len(word) >= 3 and word not in ROLE_ACCOUNTS | PUBLIC_ORGANISATIONS | HOST_WORDS:
                    kept.setdefault(word, category)
        return cls(tuple(kept.items()))


_REMOTE_OWNER = re.compile(r"[:/](?P<owner>[\w.-]+)/[\w.-]+?(?:\.git)?/?$")


def identities_of_machine(
    environment: Mapping[str, str],
    host: str,
    git_settings: Mapping[str, str],
) -> KnownIdentities:
    """Return the identities of this account, machine and repository.

    Args:
        environment: variables such as `USER`, `LOGNAME`, `HOME`, `EMAIL`.
        host: the machine's name, with or without its domain.
        git_settings: `git config` entries, such as `user.name`, `user.email` and `remote.origin.url`.
    """
    home = environment.get("HOME", "") or environment.get("USERPROFILE", "")
    owners = [
        match["owner"]
        for key, value in git_settings.items()
        if key.startswith("remote.") and key.endswith("url") and (match := _REMOTE_OWNER.search(value))
    ]
    return KnownIdentities.collect(
        users=[environment.get(key, "") for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")]
        + [re.split(r"[\\/]", home.rstrip("\\/"))[-1]],
        names=[environment.get("GIT_AUTHOR_NAME", ""), git_settings.get("user.name", "")],
        hosts=[host, host.partition(".")[0], environment.get("HOSTNAME", "")],
        emails=[
            environment.get("EMAIL", ""),
            environment.get("GIT_AUTHOR_EMAIL", ""),
            git_settings.get("user.email", ""),
        ],
        organisations=owners,
    )


_GIT_SECTION = re.compile(r'\s*\[(?P<name>[\w.-]+)(?:\s+"(?P<sub>[^"]*)")?\]')
_GIT_ENTRY = re.compile(r"\s*(?P<key>[A-Za-z][\w-]*)\s*=\s*(?P<value>.*?)\s*$")


def parse_git_settings(text: str) -> dict[str, str]:
    """Return the entries of a git configuration file as `section.subsection.key`; what is no entry is skipped.

    Only names and addresses to look for are taken from it, so a file that git itself would refuse does no harm.
    """
    settings: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if header := _GIT_SECTION.match(line):
            section = ".".join(part for part in (header["name"].lower(), header["sub"]) if part)
        elif entry := _GIT_ENTRY.match(line):
            settings[f"{section}.{entry['key'].lower()}"] = entry["value"].strip('"')
    return settings

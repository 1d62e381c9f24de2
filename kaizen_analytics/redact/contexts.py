"""Credentials told by their surroundings: URLs, headers, cookies, command lines, private key blocks."""

from __future__ import annotations

import re

from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.rules import Accept, Hit, Rule, Span
from kaizen_analytics.redact.values import is_placeholder, is_secret, measure_shape

_EXAMPLE_LOGIN = re.compile(
    rb"(?i)(?:user(?:name)?|usr|login|me|foo|<.*|\{.*|\$.*|%.*)?:(?:pass(?:word|wd)?|pw|pwd|secret|x{3,}|\*+"
    rb"|\.{3,}|\$.*|\{.*|<.*|%\w|bar)",
)


def _is_login(match: re.Match[bytes]) -> bool:
    value = match["value"]
    password = value.partition(b":")[2]
    return not (
        _EXAMPLE_LOGIN.fullmatch(value) or b"<R:" in value or password.startswith((b"$", b"{", b"<", b"%(", b"*"))
    )


def _has_digit(match: re.Match[bytes]) -> bool:
    return any(48 <= byte <= 57 for byte in match["value"]) and not is_placeholder(match["value"])


def _is_header_value(match: re.Match[bytes]) -> bool:
    value = match["value"]
    if is_placeholder(value) or value.startswith((b"$", b"<", b"{", b"%")):
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


_SECRET_PARAMETER = (
    rb"(?:[\w.%-]{0,30}(?:token|secret|passw(?:or)?d|passwd|pwd|api[_-]?key|apikey|signature|credential|auth"
    rb"|accesskeyid|sessionid|session_id)"
    rb"|key|sig|code|pass|pw|sv_sig|hmac|jwt|sid|session)"
)
_PARAMETER_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.%-"
_SCHEMES = (
    rb"(?:bearer|basic|token|bot|digest|negotiate|apikey|api-key|api-token|aws4-hmac-sha256|glpat|splunk|key"
    rb"|oauth|genie-?key|ssws|discord|hawk|klaviyo-api-key|deepl-auth-key|sso-key)"
)
_WORD = rb"[^\s\"'<>|;&]{3,200}"


def _command(kind: str, anchors: bytes, pattern: bytes, accept: Accept = _is_typed_password) -> Rule:
    return Rule(
        kind=kind,
        category=Category.COMMAND,
        anchors=tuple(anchors.split(b"|")),
        pattern=re.compile(pattern),
        after=700,
        group="value",
        accept=accept,
    )


RULES: tuple[Rule, ...] = (
    Rule(
        kind="url-credentials",
        category=Category.URL,
        anchors=(b"://",),
        pattern=re.compile(rb"://(?P<value>[^\s/@:\"'<>`\\]{0,128}:[^\s/\"'<>`\\]{1,512})@(?=[\w\[.$%-])"),
        group="value",
        accept=_is_login,
    ),
    Rule(
        kind="url-token",
        category=Category.URL,
        anchors=(b"://",),
        pattern=re.compile(rb"://(?P<value>[^\s/@:\"'<>`\\]{16,512})@(?=\w)"),
        group="value",
        accept=_has_digit,
    ),
    Rule(
        kind="authorization-header",
        category=Category.HEADER,
        anchors=(b"authorization", b"authorisation"),
        pattern=re.compile(
            rb"(?i)authori[sz]ation[\"'`\])]{0,3}\s{0,4}(?:[:=,]|=>)\s{0,4}f?[\"'`]{0,3}\s{0,2}"
            rb"(?:(?P<scheme>" + _SCHEMES + rb")(?:\s{1,4}|=))?[\"'`]?(?P<value>[^\s\"'`,;<>{}\\]{8,8000}={0,2})",
        ),
        after=9000,
        group="value",
        accept=_is_header_value,
    ),
    Rule(
        kind="bearer-value",
        category=Category.HEADER,
        anchors=(b"bearer", b"basic"),
        pattern=re.compile(rb"(?i)(?<![a-z0-9])(?:bearer|basic)[ ]{1,3}(?P<value>[A-Za-z0-9._~+/=-]{12,8000})"),
        after=9000,
        group="value",
        accept=_is_bearer,
    ),
    Rule(
        kind="query-parameter",
        category=Category.QUERY,
        anchors=tuple(
            b"token= secret= password= passwd= pwd= key= apikey= signature= credential= auth= accesskeyid="
            b" sessionid= session_id= sig= code= pass= pw= hmac= jwt= sid= session=".split(),
        ),
        pattern=re.compile(rb"(?i)(?<=[?&;#])" + _SECRET_PARAMETER + rb"=(?P<value>[^&?\s\"'#<>\\]{6,4000})"),
        before=44,
        left=_PARAMETER_BYTES,
        after=4100,
        group="value",
        accept=_is_query_value,
    ),
    Rule(
        kind="cookie",
        category=Category.COOKIE,
        anchors=(b"cookie",),
        pattern=re.compile(rb"(?i)cookies?[\"'`]?\s{0,3}[:=,]\s{0,3}[\"'`]?(?P<value>[^\n\r\"'`\\]{8,2000})"),
        after=4100,
        group="value",
        accept=_is_cookie,
    ),
    Rule(
        kind="command-login",
        category=Category.COMMAND,
        anchors=(
            b" -u",
            b"+-u",
            b"'-u",
            b'"-u',
            b" -a ",
            b' -a"',
            b" -a'",
            b" --user",
            b" --auth",
            b" --proxy-user",
            b" --creds",
        ),
        pattern=re.compile(
            rb"[\s+\"'](?:-u|-U|--user|-a|--auth|--proxy-user|--creds)(?:\s{1,3}|=|[\"'],\s?)?[\"']?"
            rb"(?P<value>[^\s:\"'/=-][^\s:\"'/=]{0,100}:[\"']?[^\s\"'<>]{3,200})",
        ),
        group="value",
        accept=_is_login,
    ),
    _command("sshpass", b"sshpass", rb"sshpass +-p *[\"']?(?P<value>[^\s\"']{3,200})"),
    _command(
        "mysql-password",
        b"mysql|mariadb",
        rb"(?:mysql\w{0,10}|mariadb[\w-]{0,10})\b[^\n|;]{0,300}? -p(?P<quote>[\"']?)(?P<value>[^\s\"'|;]{4,200})",
    ),
    _command("redis-password", b"redis-cli", rb"redis-cli\b[^\n|;]{0,300}? -a +[\"']?(?P<value>[^\s\"'|;]{3,200})"),
    _command(
        "registry-login",
        b"docker login|podman login|helm registry login|az login|az acr login|oc login|nerdctl login|"
        b"buildah login|skopeo login|crane auth login|cf login|kinit|ldapsearch|ldapadd|ldapmodify|"
        b"ldapwhoami|mongo |mongosh |mongodump |mongorestore |sqlcmd|snowsql|influx |winexe |smbclient|"
        b"rdesktop|xfreerdp|vncviewer|impacket|crackmapexec|netexec|evil-winrm|7z |zip |unzip |unrar |"
        b"rar |htpasswd|ipmitool|keytool|jarsigner|curl |wget |lftp |ftp |aria2c|rclone|restic|svn |hg |"
        b"ansible|vault login|consul|etcdctl|nomad|mc alias set|mc config",
        rb"[a-z0-9-]+\b[^\n|;]{0,300}? (?:-p|-w|-P|-pw|--pass|--passwd|-storepass|-keypass|/p:|/pass:)[ +=]?"
        rb"[ ]{0,2}[\"']?(?P<value>[^\s\"'|;:/{}]{6,200})(?![\w/:{}])",
        _is_option_password,
    ),
    _command("pass-source", b"pass:", rb"(?<![A-Za-z])pass:(?P<value>[^\s\"'<>|;&:/]{4,200})"),
    _command(
        "identified-by",
        b"identified by|with password|encrypted password",
        rb"(?i)(?:identified by|with password|encrypted password) +(?:as +)?[\"'](?P<value>[^\"'\n]{4,200})[\"']",
    ),
    _command(
        "identified-with",
        b"identified with",
        rb"(?i)identified with +\S{1,40} +(?:by|as) +[\"'](?P<value>[^\"'\n]{4,200})[\"']",
    ),
    _command("net-user", b"net user ", rb"(?i)net user +\S{1,60} +(?P<value>(?=\S*\d)[^\s/\"'][^\s\"']{5,100})"),
    _command(
        "stdin-password",
        b"echo ",
        rb"echo +(?:-n +)?[\"']?(?P<value>[^\s\"'|;&]{5,200})[\"']? *\| *(?:sudo +-S|su\b|docker|podman|helm"
        rb"|passwd|gpg|openssl|cryptsetup|sudo)",
    ),
    _command(
        "stdin-account",
        b"echo ",
        rb"echo +[\"']?[\w.-]{1,40}:(?P<value>[^\s\"'|;&]{5,200})[\"']? *\| *(?:sudo +)?chpasswd",
    ),
    _command("pgpass", b":5432:", rb":5432:[\w.*-]+:[\w.*-]+:(?P<value>[^\s:\"']{4,200})"),
    _command("snmp-community", b"snmp-server community", rb"(?i)snmp-server community (?P<value>\S{4,60})"),
    _command(
        "network-device-secret",
        b"enable secret|enable password|key 7 |password 7 |secret 5 |secret 9 |secret 8 ",
        rb"(?i)(?:enable (?:secret|password)|key|password|secret) (?:level \d+ )?(?:\d )?(?P<value>[\w$./+]{6,120})",
        _is_option_password,
    ),
    _command(
        "basic-login-call",
        b"login(|httpbasicauth(|auth=(|basic_auth(|setcredentials(|passwordcredentials(",
        rb"(?i)(?:login|httpbasicauth|auth=|basic_auth|setcredentials|passwordcredentials)\(\s{0,4}[\"']"
        rb"[^\"'\n]{1,100}[\"']\s{0,3},\s{0,4}[\"'](?P<value>[^\"'\n]{4,200})[\"']",
    ),
    _command(
        "wordpress-define",
        b"define(",
        rb"(?i)define\(\s{0,3}[\"'](?:DB_PASSWORD|\w{0,20}(?:KEY|SALT|SECRET|TOKEN|PASSWORD))"
        rb"[\"']\s{0,3},\s{0,3}[\"'](?P<value>[^\"'\n]{4,200})[\"']",
    ),
    _command("json-web-key", b'"d"', rb"\"d\"\s{0,3}:\s{0,3}\"(?P<value>[\w-]{40,2000})\""),
    _command("docker-auth", b'"auth"', rb"\"auth\"\s{0,3}:\s{0,3}\"(?P<value>[A-Za-z0-9+/]{12,2000}={0,2})\""),
    _command(
        "npmrc-auth",
        b"_auth|_password",
        rb"_(?:auth|authToken|password) *= *[\"']?(?P<value>[\w+/=.-]{8,2000})",
        _is_option_password,
    ),
    _command(
        "ethereum-private-key",
        b"private",
        rb"(?i)private[ _-]?key[\"']?[\s:=]{1,6}[\"']?(?P<value>(?:0x)?[0-9a-f]{64})(?![0-9a-f])",
    ),
)

PRIVATE_KEY_ANCHORS = (b"private key", b"private+key", b"putty-user-key-file", b"private-lines")
_PRIVATE_BEGIN = re.compile(rb"-{4,5} ?BEGIN[ +A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_PRIVATE_END = re.compile(rb"-{4,5} ?END[ +A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_EDGE = re.compile(rb"-{4,5} ?(?:BEGIN|END) ")
_PRIVATE_BODY = re.compile(
    rb"(?:\s|\\+[nrt]|[A-Za-z0-9+/=]{16,}|[A-Za-z0-9+/=]+(?=\s*(?:-----|$))|(?:Proc-Type|DEK-Info|Version"
    rb"|Comment|Hash):[^\n\\]{0,200}|[+>| ])*",
)
_PUTTY_BODY = re.compile(rb"(?i)(?:PuTTY-User-Key-File|Private-Lines)[^\n]{0,80}(?:\s[^\n]{0,120}){0,60}")
_LONGEST_KEY = 20_000


def find_private_key(hit: Hit) -> Span | None:
    """Return the block that begins at this header; without an end line, everything that looks like its body."""
    if hit.view[hit.start : hit.start + 2].lower() == b"pu" or hit.view[hit.start + 7 : hit.start + 8] == b"-":
        match = _PUTTY_BODY.match(hit.view, hit.start, min(hit.high, hit.start + 6000))
        return match.span() if match else None
    begin = _PRIVATE_BEGIN.search(hit.view, max(hit.low, hit.start - 80), min(hit.high, hit.start + 40))
    if begin is None or begin.end() < hit.start:
        return None
    limit = min(hit.high, begin.end() + _LONGEST_KEY)
    edge = _EDGE.search(hit.view, begin.end(), limit)
    end = _PRIVATE_END.match(hit.view, edge.start(), limit) if edge else None
    if end:
        return begin.start(), end.end()
    body = _PRIVATE_BODY.match(hit.view, begin.end(), limit)
    return begin.start(), body.end() if body else begin.end()

"""Texts with planted secrets and identities, and texts without, made at run time from formats and a seed.

No secret is written down here: a format such as `ghp_{an36}` becomes a value only in memory. Formats are those that
vendors publish, written apart from the detectors, so that the two can disagree. `DEVELOPMENT` encodings may be looked
at while rules are written; `HELD_OUT` ones are for measuring only.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import json
import quopri
import random
import re
import string
import tomllib
import urllib.parse
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ALPHABETS = {
    "an": string.ascii_letters + string.digits,
    "w": string.ascii_letters + string.digits + "_-",
    "h": "0123456789abcdef",
    "H": "0123456789ABCDEF",
    "u": string.ascii_uppercase + string.digits,
    "l": string.ascii_lowercase + string.digits,
    "d": string.digits,
    "B": string.ascii_uppercase + "234567",
    "b": string.ascii_letters + string.digits + "+/",
    "a": string.ascii_lowercase,
    "c": string.ascii_letters,
    "p": string.ascii_letters + string.digits + "!#%^*-_+=~?@",
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@dataclass(frozen=True, slots=True)
class Sample:
    """One text. `secret` is what must be gone from the redacted text (None: the text must stay as it is)."""

    text: str
    secret: str | None
    group: str
    kind: str
    encoding: str


def fill(template: str, rng: random.Random) -> str:
    """Replace `{an36}`-like fields: an alphabet and a count; `{uuid}`, `{name}` and `{host}` are special."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "uuid":
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if match[1] in _CHECKED:
            return _CHECKED[match[1]](rng)
        if match[1] == "first":
            return rng.choice(_FIRST)
        if match[1].lower() == "last":
            name = rng.choice(_LAST)
            return {"last": name, "Last": name.capitalize(), "LAST": name.upper()}[match[1]]
        alphabet = _ALPHABETS[match[2]]
        return "".join(rng.choice(alphabet) for _ in range(int(match[3])))

    return re.sub(
        r"\{(uuid|first|last|Last|LAST|cards?|iban|cpf|ahv|resident|([a-zA-Z]{1,2}?)(\d+))\}", value, template
    )


def _digits(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(10) for _ in range(count)]


def _make_card(rng: random.Random) -> str:
    digits = [4, *_digits(rng, 14)]
    total = sum(sum(divmod(2 * digit, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    return "".join(map(str, [*digits, -total % 10]))


def _make_iban(rng: random.Random) -> str:
    account = "".join(map(str, _digits(rng, 18)))
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def _make_cpf(rng: random.Random) -> str:
    digits = [1, 2, *_digits(rng, 7)]
    for _ in range(2):
        total = sum(digit * (len(digits) + 1 - place) for place, digit in enumerate(digits))
        digits.append(total * 10 % 11 % 10)
    text = "".join(map(str, digits))
    return f"{text[:3]}.{text[3:6]}.{text[6:9]}-{text[9:]}"


def _make_ahv(rng: random.Random) -> str:
    digits = [7, 5, 6, *_digits(rng, 9)]
    check = -sum(digit * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10
    text = "".join(map(str, [*digits, check]))
    return f"{text[:3]}.{text[3:7]}.{text[7:11]}.{text[11:]}"


def _make_resident(rng: random.Random) -> str:
    text = f"110105{rng.randrange(1950, 2005)}1231{rng.randrange(1000):03}"
    return text + "10X98765432"[sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(text)) % 11]


_CHECKED: dict[str, Callable[[random.Random], str]] = {
    "card": _make_card,
    "cards": lambda rng: " ".join(re.findall("....", _make_card(rng))),
    "iban": _make_iban,
    "cpf": _make_cpf,
    "ahv": _make_ahv,
    "resident": _make_resident,
}

_FIRST = _words(
    """
    jane alice omar li maria tomasz priya sven chloe diego fatima hiro ingrid kwame noor otto paula ravi sara
    yusuf
    """,
)
_LAST = _words(
    """
    doe novak garcia okafor tanaka meier larsen rossi dubois kowalski haddad singh chen murphy silva ivanov berg
    nakamura
    """,
)

TOKENS: dict[str, tuple[str, ...]] = {
    "aws access key": ("AKIA{B16}", "ASIA{B16}"),
    "aws bedrock": ("ABSK{b108}==",),
    "google api key": ("AIza{w35}",),
    "google oauth secret": ("GOCSPX-{w28}",),
    "google access token": ("ya29.{w68}",),
    "google refresh token": ("1//0{d1}{w60}",),
    "github classic": ("ghp_{an36}", "gho_{an36}", "ghs_{an36}", "ghu_{an36}", "ghr_{an36}"),
    "github fine grained": ("github_pat_{an22}_{an59}",),
    "gitlab": ("glpat-{w20}", "glptt-{h40}", "gldt-{w20}", "glrt-{w20}", "GR1348941{w20}"),
    "slack bot": ("xoxb-{d12}-{d13}-{an24}", "xoxp-{d12}-{d12}-{d12}-{h32}", "xoxe.xoxp-1-{an160}"),
    "slack app": ("xapp-1-A{u10}-{d13}-{h64}",),
    "slack webhook": ("https://hooks.slack.com/services/T{u8}/B{u8}/{an24}",),
    "discord webhook": ("https://discord.com/api/webhooks/{d18}/{w68}",),
    "discord bot": ("M{an23}.{w6}.{w27}", "N{an25}.{w6}.{w38}"),
    "telegram bot": ("{d9}:AA{w33}", "{d10}:AAE{w32}"),
    "stripe": ("sk_live_{an24}", "rk_live_{an99}", "sk_test_{an99}"),
    "stripe webhook": ("whsec_{an32}",),
    "openai": ("sk-proj-{w74}T3BlbkFJ{w74}", "sk-{an20}T3BlbkFJ{an20}", "sk-svcacct-{w58}T3BlbkFJ{w58}"),
    "anthropic": ("sk-ant-api03-{w93}AA", "sk-ant-admin01-{w93}AA"),
    "openrouter": ("sk-or-v1-{h64}",),
    "groq": ("gsk_{an52}",),
    "xai": ("xai-{an80}",),
    "perplexity": ("pplx-{an48}",),
    "hugging face": ("hf_{c34}", "api_org_{c34}"),
    "replicate": ("r8_{an37}",),
    "langsmith": ("lsv2_pt_{h32}_{h10}", "lsv2_sk_{h32}_{h10}"),
    "pinecone": ("pcsk_{an5}_{an60}",),
    "nvidia": ("nvapi-{w64}",),
    "npm": ("npm_{an36}",),
    "pypi": ("pypi-AgEIcHlwaS5vcmc{w90}",),
    "rubygems": ("rubygems_{h48}",),
    "crates": ("cio{an32}",),
    "clojars": ("CLOJARS_{l60}",),
    "nuget": ("oy2{l43}",),
    "docker hub": ("dckr_pat_{w27}", "dckr_oat_{w32}"),
    "digitalocean": ("dop_v1_{h64}", "doo_v1_{h64}", "dor_v1_{h64}"),
    "heroku": ("HRKU-{w60}",),
    "fly": ("fo1_{w43}", "fm2_{b100}==", "FlyV1 fm2_{b100}="),
    "netlify": ("nfp_{an36}",),
    "vercel": ("vcp_{an56}",),
    "render": ("rnd_{an32}",),
    "cloudflare origin": ("v1.0-{h24}-{h146}",),
    "databricks": ("dapi{h32}",),
    "vault": ("hvs.{w90}", "hvb.{w138}"),
    "terraform cloud": ("{an14}.atlasv1.{w67}",),
    "supabase": ("sbp_{h40}", "sb_secret_{w31}"),
    "planetscale": ("pscale_tkn_{w43}", "pscale_pw_{w43}"),
    "neon": ("napi_{l64}",),
    "aiven": ("AVNS_{w19}",),
    "openshift": ("sha256~{w43}",),
    "tailscale": ("tskey-auth-{an17}-{an32}", "tskey-api-{an12}-{an24}"),
    "pulumi": ("pul-{h40}",),
    "alibaba": ("LTAI{an20}",),
    "tencent": ("AKID{an32}",),
    "yandex": ("AQVN{w36}",),
    "azure client secret": ("{an3}8Q~{w34}",),
    "azure storage": ("AccountKey={b86}==",),
    "azure devops": ("{an76}AZDO{an4}",),
    "atlassian": ("ATATT3xFfGF0{w171}=1A2B3C4D", "ATCTT3xFfGN0{w171}=A1B2C3D4"),
    "bitbucket": ("ATBB{an28}{H8}",),
    "sentry": ("sntrys_{b150}", "sntryu_{h64}"),
    "grafana": ("glsa_{an32}_{h8}", "glc_{b80}="),
    "new relic": ("NRAK-{u27}", "NRJS-{h19}", "{h36}NRAL"),
    "dynatrace": ("dt0c01.{u24}.{u64}",),
    "posthog": ("phc_{an43}", "phx_{an43}"),
    "linear": ("lin_api_{an40}",),
    "notion": ("ntn_{d11}{an35}", "secret_{an43}"),
    "airtable": ("pat{an14}.{h64}",),
    "asana": ("1/{d16}:{h32}",),
    "figma": ("figd_{w40}",),
    "postman": ("PMAK-{h24}-{h34}",),
    "doppler": ("dp.pt.{an43}",),
    "shopify": ("shpat_{h32}", "shpss_{h32}"),
    "square": ("sq0atp-{w22}", "EAAA{w60}"),
    "facebook": ("EAACEdEose0cBA{an60}", "EAAM{an100}"),
    "twilio": ("SK{h32}", "AC{h32}"),
    "sendgrid": ("SG.{w22}.{w43}",),
    "mailgun": ("key-{h32}",),
    "mailchimp": ("{h32}-us{d2}",),
    "brevo": ("xkeysib-{h64}-{an16}",),
    "mailersend": ("mlsn.{h64}",),
    "resend": ("re_{an8}_{an24}",),
    "easypost": ("EZAK{an54}",),
    "flutterwave": ("FLWSECK_TEST-{h32}-X",),
    "razorpay": ("rzp_live_{an14}",),
    "plaid": ("access-sandbox-{uuid}",),
    "shippo": ("shippo_live_{h40}",),
    "adobe": ("p8e-{l32}",),
    "age": ("AGE-SECRET-KEY-1{u58}",),
    "1password": ("ops_eyJ{b250}", "A3-{u6}-{u11}-{u5}-{u5}-{u5}"),
    "jfrog": ("AKCp{an69}", "cmVmd{an59}"),
    "launchdarkly": ("sdk-{uuid}", "api-{uuid}"),
    "octopus": ("API-{u26}",),
    "sonarqube": ("squ_{h40}", "sqp_{h40}"),
    "sourcegraph": ("sgp_{h40}",),
    "circleci": ("CCIPAT_{an22}_{h40}",),
    "buildkite": ("bkua_{h40}",),
    "maxmind": ("{an6}_{an29}_mmk",),
    "salesforce": ("00D{an12}!{an80}",),
    "hubspot": ("pat-na1-{uuid}",),
    "nats": ("SUA{B55}",),
    "unknown vendor": ("acme_live_{an40}", "zetta_sk_{an32}", "brandnew_api_{an48}"),
}

_TOKEN_CONTEXTS = (
    "{S}",
    "export SERVICE_VALUE={S}",
    "the one that works is {S} as of today",
    '{"authorization": "Bearer {S}"}',
    "Authorization: Bearer {S}",
    "curl -sS https://api.acme.dev/v2/items -H 'X-Thing: {S}' | jq .",
    'client = Client("{S}")',
    "value: {S}",
    "conf = '{S}';",
    "set it to `{S}`, then retry",
    "https://api.acme.dev/v1/run?x={S}&y=2",
    "//registry.acme.dev/:_thing={S}",
    "thing: '{S}' # rotate",
    "[2026-03-04 10:11:12] INFO got {S} from store",
    "({S})",
    "<item>{S}</item>",
)

NAMES_PASSWORD = _words(
    """
    password passwd pwd db_password DB_PASSWORD dbPassword MYSQL_ROOT_PASSWORD POSTGRES_PASSWORD adminPassword
    smtp_pass SMTP_PASS  spring.datasource.password user_password PGPASSWORD passphrase REDIS_PASSWORD
    ansible_ssh_pass keystorePassword
    """,
)
NAMES_SECRET = _words(
    """
    api_key API_KEY apiKey apikey api-key secret SECRET_KEY secret_key client_secret clientSecret CLIENT_SECRET
    access_token ACCESS_TOKEN accessToken  auth_token AUTH_TOKEN token refresh_token private_key
    aws_secret_access_key AWS_SECRET_ACCESS_KEY DJANGO_SECRET_KEY JWT_SECRET jwtSecret  encryption_key
    signing_key webhook_secret STRIPE_SECRET datadog_api_key DD_API_KEY heroku_api_key algolia_admin_key
    consumer_secret session_token  X-Api-Key SLACK_SIGNING_SECRET accountKey SharedAccessKey TWILIO_AUTH_TOKEN
    OPENWEATHER_API_KEY cookie_secret NEXTAUTH_SECRET bot_token master_key
    """,
)
_PASSWORD_VALUES = (
    "{p14}",
    "{an12}",
    "{a5}{d3}{c4}",
    "{c6}!{d3}",
    "{c4}-{d4}-{c4}",
    "{p20}",
    "{c3}{d2}#{c4}",
    "{a6}{d4}",
)
_SECRET_VALUES = ("{an32}", "{h32}", "{b40}", "{w43}", "{h64}", "{uuid}", "{an24}", "{b43}=", "{h40}", "{l40}", "{u32}")
_NOTATIONS = (
    "{K}={V}",
    "export {K}={V}",
    '{K} = "{V}"',
    "{K} = '{V}'",
    '"{K}": "{V}"',
    "'{K}': '{V}',",
    "{K}: {V}",
    '{K}: "{V}"',
    'const {K} = "{V}";',
    '{K}:= "{V}"',
    '  "{K}" => "{V}",',
    "<{K}>{V}</{K}>",
    '<add key="{K}" value="{V}" />',
    "docker run -e {K}={V} acme/app",
    "ENV {K}={V}",
    'os.environ["{K}"] = "{V}"',
    '- name: {K}\n  value: "{V}"',
    "tool --{K} {V} --verbose",
    "tool --{K}={V}",
    '{"user":"svc","{K}":"{V}","n":3}',
    'process.env.{K} = "{V}"',
    'let {K}: &str = "{V}";',
    "{K}: str = '{V}'",
    '$config["{K}"] = "{V}";',
    "my {K} is {V}",
)

_STRUCTURES: dict[str, tuple[tuple[str, str], ...]] = {
    # template, secret; fields in the secret are filled first and stand in the template as {S}
    "netrc": (
        ("machine api.acme.dev\n  login deploy\n  password {S}\n", "{an14}"),
        ("machine ftp.acme.dev login deploy password {S}", "{l10}"),
        ("default login anonymous password {S}", "{l6}{d2}"),
    ),
    "typed declaration": (
        ('var apiToken string = "{S}"', "{an14}"),
        ("const dbPassword string = `{S}`", "{l6}{d2}!"),
        ('static const char wifi_password[64] = "{S}";', "{l6}{d2}!"),
        ('Dim password As String = "{S}"', "{l6}{d2}!"),
        ("DECLARE @password nvarchar(50) = N'{S}'", "{l6}{d2}!"),
    ),
    "element over lines": (
        ("<apiToken>\n   {S}\n</apiToken>", "{an20}"),
        ("<dbPassword>\n\t\t{S}\n\t</dbPassword>", "{l6}{d2}!"),
    ),
    "database login": (
        ("sqlplus scott/{S}@orcl", "{l6}{d2}"),
        ("sqlplus -s app/{S}@//db.acme.dev:1521/main", "{an10}"),
        ("sqlldr userid=app/{S}@orcl control=load.ctl", "{an10}"),
        ("expdp system/{S}@prod schemas=hr", "{l6}{d2}"),
    ),
    "told password": (
        ("the password for the db is {S}", "{l4}{d1}{u3}!"),
        ("**Password:** {S}", "{l4}{d1}{u3}!"),
        ("| password | {S} |", "{l4}{d1}{u3}!"),
        ("user: admin pass: {S}", "{l4}{d1}{u3}!"),
        ("requirepass {S}", "{l4}{d1}{u3}!"),
        ("htpasswd -bc .htpasswd admin {S}", "{l4}{d1}{u3}!"),
        ('variable "db_password" {\n  default = "{S}"\n}', "{l4}{d1}{u3}!"),
        ('ConvertTo-SecureString "{S}" -AsPlainText', "{l4}{d1}{u3}!"),
        ("jdbc:oracle:thin:scott/{S}@db:1521/main", "{l4}{d1}{u3}!"),
    ),
    "password in prose": tuple(
        (template, "{c4}{d2}{a3}!")
        for template in (
            "use password {S} to log in",
            "I changed the password to {S}",
            "log in with admin / {S}",
            "sign in as ops@acme.dev / {S}",
            "{S} is the password",
            "{S} was our old password for the vpn",
            "Use `{S}` as password",
            "try {S} as the passphrase",
            "password ({S})",
            "the new password {S} works",
            "it is {S} (the vpn password)",
            "Password\n{S}",
            "**Passphrase**\n\n`{S}`",
            '<entry key="password">{S}</entry>',
            "the secret word is {S}",
            "clé d'API : {S}",
        )
    ),
    "pin": (
        ("PIN code: {S}", "8{d5}"),
        ("the pin code is {S}", "7{d3}6"),
        ("PIN {S}", "83{d4}"),
    ),
    "secret call": (
        ('user.setPassword("{S}");', "{l6}{d2}!"),
        ("client.withApiKey('{S}')", "{an20}"),
        ('Builder().username("x").password("{S}")', "{l6}{d2}"),
        ('updatePassword(userId, "{S}")', "{l6}{d2}"),
    ),
    "further host": (
        ("mongodb://app:{d8}@h1:27017,ops:{S}@h2:27017/main", "{an12}"),
        ("amqp://app:{d8}@h1:5672,amqp://ops:{S}@h2", "{an12}"),
    ),
    "other languages": tuple(
        (template, "{l5}{d2}{u2}")
        for template in (
            "Das Passwort lautet: {S}",
            "Kennwort: {S}",
            "mot de passe : {S}",
            "Le mot de passe est {S}",
            "mdp: {S}",
            "contraseña: {S}",
            "La contraseña de la base de datos es {S}",
            "senha: {S}",
            "密码\uff1a{S}",
            "数据库密码是{S}",
            "パスワード\uff1a{S}",
            "パスワードは{S}です",
            "パスワード「{S}」",
            "пароль: {S}",
            "Пароль от базы: {S}",
            "비밀번호: {S}",
            "wachtwoord: {S}",
            "hasło do bazy: {S}",
            "şifre: {S}",
            '{"пароль": "{S}"}',
        )
    ),
    "layers": (
        ("\x1b[38;5;208m{S}\x1b[0m", "ghp_{an36}"),
        ("token \x1b[1mnpm_{S}\x1b[0m", "{an36}"),
    ),
    "database url": (
        ("postgres://app:{S}@db.acme.dev:5432/main", "{an16}"),
        ("mysql://root:{S}@10.0.0.5/prod", "{an12}!{d2}"),
        ("mongodb+srv://svc:{S}@cluster0.ab1cd.mongodb.net/?retryWrites=true", "{an18}"),
        ("redis://:{S}@cache:6379/0", "{an24}"),
        ("amqps://svc:{S}@mq.acme.dev/vhost", "{w22}"),
        ("DATABASE_URL=postgresql://u:{S}@host/db?sslmode=require", "{an10}"),
    ),
    "repository url": (
        ("git clone https://oauth2:{S}@git.acme.dev/team/app.git", "{an26}"),
        ("https://{S}@git.acme.dev/team/app.git", "{an40}"),
        ("https://user:{S}@packages.acme.dev/index", "{an20}"),
    ),
    "basic auth": (
        ("Authorization: Basic {S}", "{b36}"),
        ("curl -u admin:{S} https://acme.dev/x", "{an14}"),
        ("curl --user 'svc:{S}' https://acme.dev", "{an14}!"),
        ("Proxy-Authorization: Basic {S}", "{b40}"),
    ),
    "bearer": (
        ("Authorization: Bearer {S}", "{an40}"),
        ('-H "Authorization: Bearer {S}"', "{w64}"),
        ("headers={'Authorization': 'token {S}'}", "{h40}"),
        ('"Authorization": f"Bearer {S}"', "{an50}"),
    ),
    "jwt": (
        ("{S}", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{w80}.{w43}"),
        ("session={S}; Path=/", "eyJhbGciOiJSUzI1NiJ9.eyJ{w120}.{w342}"),
    ),
    "cookie": (
        ("Cookie: sessionid={S}; theme=dark", "{an32}"),
        ("Set-Cookie: sid=s%3A{S}; HttpOnly", "{w32}"),
    ),
    "query": (
        ("GET /v1/x?api_key={S}&q=1", "{an32}"),
        ("https://acme.blob.core.windows.net/c/f?sv=2024-01-01&sig={S}", "{an40}"),
        ("https://b.s3.amazonaws.com/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature={S}", "{h64}"),
        ("https://api.acme.dev/cb?access_token={S}#x", "{w40}"),
    ),
    "command": (
        ("mysql -h db -u root -p{S} prod", "{an12}"),
        ("sshpass -p '{S}' ssh box", "{an12}"),
        ("PGPASSWORD={S} psql -h db", "{an14}"),
        ("redis-cli -h c -a {S} ping", "{an16}"),
        ("docker login -u bot -p {S} registry.acme.dev", "{an20}"),
        ("echo {S} | sudo -S ls", "{a5}{d4}"),
        ("openssl rsa -in k.pem -passin pass:{S}", "{an12}"),
        ("machine git.acme.dev login svc password {S}", "{an16}"),
        ("kubectl create secret generic x --from-literal=password={S}", "{an16}"),
        ("aws configure set aws_secret_access_key {S}", "{b40}"),
    ),
    "connection string": (
        ("Server=tcp:db.acme.dev,1433;User ID=sa;Password={S};Encrypt=True", "{an14}!"),
        ("Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={S}", "{b43}="),
        ("DefaultEndpointsProtocol=https;AccountName=x;AccountKey={S};EndpointSuffix=core.windows.net", "{b86}=="),
    ),
    "sql": (
        ("CREATE USER app IDENTIFIED BY '{S}';", "{an12}!"),
        ("ALTER ROLE app WITH PASSWORD '{S}';", "{an14}"),
    ),
    "password hash": (
        ("root:{S}:19000:0:99999:7:::", "$6${an16}${an86}"),
        ("deploy:{S}", "$apr1${an8}${an22}"),
        ("{S}", "$2b$12${an53}"),
    ),
    "private key": (
        ("-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY-----", "MIIE{b60}\n{b64}\n{b64}\n{b40}=="),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{S}\n-----END OPENSSH PRIVATE KEY-----",
            "b3BlbnNzaC1rZXk{b55}\n{b70}\n{b30}=",
        ),
        ("-----BEGIN EC PRIVATE KEY-----\n{S}\n-----END EC PRIVATE KEY-----", "MHcCAQEE{b56}\n{b64}\n{b36}=="),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{S}\n-----END PGP PRIVATE KEY BLOCK-----",
            "lQ{b62}\n{b64}\n=ab{b2}",
        ),
        ('"private_key": "-----BEGIN PRIVATE KEY-----\n{S}\n-----END PRIVATE KEY-----\n"', "MIIEv{b59}\n{b64}"),
    ),
    "files": (
        ("//npm.acme.dev/:_authToken={S}", "{uuid}"),
        ('{"auths":{"r.acme.dev":{"auth":"{S}"}}}', "{b40}"),
        ("define('DB_PASSWORD', '{S}');", "{p18}"),
        ("db.acme.dev:5432:main:app:{S}", "{an16}"),
        ("otpauth://totp/Acme:svc?secret={S}&issuer=Acme", "{B32}"),
    ),
}

_IDENTITIES: dict[str, tuple[tuple[str, str], ...]] = {
    "account of a login": (
        ("{S}@203.0.113.7", "{first}{last}"),
        ("ssh://{S}@203.0.113.7:22/srv", "{first}{last}"),
        ("rsync://{S}@backup/data", "{first}{last}"),
        ("/run/media/{S}/USB", "{first}{last}"),
        ("machine ftp.acme.dev login {S} password x", "{first}{last}"),
    ),
    "windows account": (
        ("{LAST}\\{S}", "{first}{last}"),
        ("user {LAST}-DE\\{S} logged in", "{first}.{last}"),
        ("runas /user:{LAST}\\{S} cmd", "{first}{last}"),
        ("owner: {last}.local\\{S}", "{first}{d2}"),
        ("AzureAD\\{S}", "{first}{last}"),
        ("whoami\n{last}\\{S}\n", "{first}{last}"),
        ("\\\\{S}\\projects\\plan.docx", "{last}-files{d2}"),
        ("\\\\files.acme.dev\\home$\\{S}\\notes.txt", "{first}.{last}"),
        ("\\\\nas1\\users\\{S}\\Desktop", "{first}{last}"),
        ("smb://nas1/profiles/{S}/x", "{first}{last}"),
        ("smb://CORP;{S}@nas1/share", "{first}{last}"),
        ("C--Users-{S}-code", "{first}{last}"),
    ),
    "account of a record": (
        ("uid=1000({S}) gid=1000({S}) groups=1000({S}),27(sudo)", "{first}{last}"),
        ("-rw-r--r-- 1 {S} {S} 120 Jan  1 10:00 a.txt", "{first}{last}"),
        ("{S}:x:1001:1001::/srv/app:/bin/bash", "{first}{last}"),
        ("jo:x:1001:1001:{S},,,:/srv/app:/bin/sh", "Zoe {Last}"),
        ("chown -R {S}:{S} notes", "{first}{last}"),
        ("$ whoami\n{S}\n", "{first}{last}"),
        ('"user": "{S}"', "{first}.{last}"),
        ("see ~{S}/public_html", "{first}{last}"),
        ("/ssh:{S}@203.0.113.9:/etc/hosts", "{first}{last}"),
        ("/cluster/home/{S}/job.sh", "{first}{last}"),
    ),
    "account of a command": (
        ("sudo -u {S} ls", "{first}{last}"),
        ("su - {S}", "{first}{last}"),
        ("chown {S}:staff notes", "{first}{last}"),
        ("[{S}@web1 src]$", "{first}{last}"),
        ("Last login: Mon from {S}", "{last}-ws{d2}"),
    ),
    "personal number": (
        ("paid with {S} today", "{card}"),
        ("card: {S}", "{cards}"),
        ("IBAN {S}", "{iban}"),
        ("call {S}", "+49 30 {d7}"),
        ("Telefon: {S}", "0151 {d7}"),
        ("phone {S}", "(555) 2{d2}-{d4}"),
        ("手机\uff1a{S}", "138{d8}"),
        ("SSN {S}", "536-2{d1}-1{d3}"),
        ("CPF {S}", "{cpf}"),
        ("AHV {S}", "{ahv}"),
        ("身份证 {S}", "{resident}"),
    ),
    "email": (
        ("contact {S} for access", "{first}.{last}@acme-corp.io"),
        ('"email": "{S}"', "{first}{d2}@{last}.co.uk"),
        ("{S}", "{first}_{last}+ci@mail.acme.dev"),
    ),
    "git identity": (
        ("Author: Jo <{S}>", "{first}@{last}-labs.com"),
        ("user.email={S}", "{first}.{last}@gmail.com"),
        ("Signed-off-by: X <{S}>", "{last}@corp.example"),
        ("Author: {S} <x@y.dev>", "Zoe {Last}"),
    ),
    "home path": (
        ("cd /home/{S}/src/app && make", "{first}{last}"),
        ('File "/Users/{S}/src/main.py", line 3', "{first}.{last}"),
        ("C:\\Users\\{S}\\AppData\\Local\\Temp", "{first}{d2}"),
        ("/mnt/c/Users/{S}/code", "{last}{first}"),
        ("~/.claude/projects/-Users-{S}-src-app/x.jsonl", "{first}{last}"),
        ("file:///home/{S}/notes.md", "{last}"),
        ("/var/folders/{S}/T/tmp1", "q1/{l30}"),
    ),
    "remote": (
        ("git@github.com:{S}/billing.git", "{last}-corp{d2}"),
        ("origin\thttps://github.com/{S}/api.git (fetch)", "{last}{first}"),
        ("ssh://git@gitlab.{last}.io:2222/{S}/core.git", "{first}-team"),
        ("url = git@bitbucket.org:{S}/site.git", "{last}works"),
    ),
    "address": (
        ("ssh to {S} failed", "10.1{d1}.7.21"),
        ("connect {S}:5432", "192.168.2{d1}.14"),
        ("from {S} port 22", "172.16.4{d1}.9"),
        ("listening on http://{S}:8080/", "203.0.113.7{d1}"),
        ("inet6 {S} prefixlen 64", "fd12:3456:789a:1::{h4}"),
        ("ether {S}", "a4:83:e7:{h2}:{h2}:{h2}"),
    ),
    "host": (
        ("Host: {S}", "build-{d2}.{last}.internal"),
        ("hostname: {S}", "{first}-thinkpad"),
        ("{S} login:", "{first}s-MacBook-Pro.local"),
        ("ssh deploy@{S}", "db-{d2}.{last}.corp"),
    ),
    "user": (
        ("USER={S}", "{first}{last}"),
        ("ssh {S}@box", "{first}{d2}"),
        ("drwxr-xr-x  5 {S} staff  160 Nov  3 10:11 src", "{first}{last}"),
        ("uid=501({S}) gid=20(staff)", "{last}"),
        ('"username": "{S}"', "{first}.{last}"),
    ),
}


_SHAPES = tomllib.loads(Path(__file__).with_name("redaction_shapes.toml").read_text("utf-8"))
for _title, _known in (("structured", _STRUCTURES), ("identity", _IDENTITIES)):
    for _kind, _forms in _SHAPES[_title].items():
        _known[_kind] = tuple((template, form) for form, templates in _forms.items() for template in templates)
_MOST_CASES = 12
"""How many cases of one kind a round takes."""


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _all_escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


def _mixed_html(text: str) -> str:
    return "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in text)


def _coloured(text: str) -> str:
    return f"\x1b[32m{text[: len(text) // 2]}\x1b[0m\x1b[1m{text[len(text) // 2 :]}\x1b[0m"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


DEVELOPMENT: dict[str, Callable[[str], str]] = {
    "raw": lambda text: text,
    "json": lambda text: '{"content":"' + _json(text) + '"}',
    "json twice": lambda text: '{"a":"' + _json('{"content":"' + _json(text) + '"}') + '"}',
    "json three times": lambda text: '{"x":"' + _json('{"a":"' + _json('{"b":"' + _json(text) + '"}') + '"}') + '"}',
    "url": lambda text: "q=" + urllib.parse.quote(text, safe=""),
    "unicode escapes": _all_escaped,
    "html": lambda text: "<td>" + html.escape(text) + "</td>",
    "base64": lambda text: "data " + _b64(text),
}
HELD_OUT: dict[str, Callable[[str], str]] = {
    "form": lambda text: "body=" + urllib.parse.quote_plus(text),
    "url twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "json in url": lambda text: "data=" + urllib.parse.quote(json.dumps({"t": text}), safe=""),
    "json in html": lambda text: html.escape(json.dumps({"t": text})),
    "html numeric": _mixed_html,
    "base64 of json": lambda text: '{"blob":"' + _b64(json.dumps({"t": text})) + '"}',
    "base64 url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hex": lambda text: "0x" + binascii.hexlify(text.encode()).decode(),
    "colour": _coloured,
    "zero width": lambda text: "\u200b".join((text[: len(text) // 2], text[len(text) // 2 :])),
    "repr": lambda text: repr({"out": text}),
    "quoted code": lambda text: "```\n" + text + "\n```",
    "base32": lambda text: base64.b32encode(f"a line: {text}\n".encode()).decode(),
    "base64 in lines": lambda text: base64.encodebytes(f"a line: {text}\n".encode()).decode(),
    "pairs of digits": lambda text: text.encode().hex(" "),
    "list of bytes": lambda text: str(list(text.encode())),
    "as JavaScript escapes": lambda text: "".join(f"%u{ord(c):04x}" for c in text if c < "\U00010000"),
    "colour of each letter": lambda text: "".join(f"\x1b[3{n % 8}m{c}" for n, c in enumerate(text)),
    "tags in words": lambda text: "<wbr>".join(re.findall(r"(?s).{1,7}", text)),
    "Markdown escapes": lambda text: re.sub(r"([_*<>#|~.+=-])", r"\\\1", text),
    "numbered lines": lambda text: "\n".join(f"{n:6}\t{line}" for n, line in enumerate(text.split("\n"), 1)),
    "hex escapes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "base64 of utf-16": lambda text: (
        "powershell -EncodedCommand " + base64.b64encode(text.encode("utf-16-le")).decode()
    ),
    "style sheet escapes": lambda text: "".join(f"\\{ord(c):x} " for c in text),
    "hex in braces": lambda text: "".join(f"\\x{{{ord(c):x}}}" for c in text),
}
UNSEEN: dict[str, Callable[[str], str]] = {
    "quoted-printable": lambda text: quopri.encodestring(text.encode()).decode(),
    "slashes escaped": lambda text: json.dumps({"t": text}).replace("/", "\\/"),
    "html hexadecimal": lambda text: "".join(f"&#x{ord(c):x};" if not c.isalnum() else c for c in text),
    "upper-case hex": lambda text: "value=" + binascii.hexlify(text.encode()).decode().upper(),
    "base64 of utf-16 in json": lambda text: json.dumps({"t": base64.b64encode(text.encode("utf-16-be")).decode()}),
    "bytes of python": lambda text: repr(text.encode()),
    "signs as hex escapes": lambda text: (
        "".join(c if c.isalnum() else f"\\x{ord(c):02x}" for c in text) if text.isascii() else text
    ),
    "url of base64": lambda text: "x=" + urllib.parse.quote(_b64(text), safe=""),
    "html in json": lambda text: json.dumps({"t": html.escape(text)}),
    "json in json in url": lambda text: urllib.parse.quote(json.dumps({"t": json.dumps({"u": text})}), safe=""),
    "markdown quote": lambda text: "\n".join("> " + line for line in text.splitlines()),
    "diff": lambda text: "\n".join("+" + line for line in text.splitlines()),
    "256 colours in json": lambda text: json.dumps({"out": f"\x1b[38;5;208m{text}\x1b[0m"}),
    "colours in json in json": lambda text: json.dumps({"t": json.dumps({"out": _coloured(text)})}),
    "zero width in json": lambda text: json.dumps({"t": "\u2060".join((text[:9], text[9:]))}),
    "marks of direction": lambda text: "\u061c".join((text[: len(text) // 2], text[len(text) // 2 :])),
    "braces": lambda text: "".join(f"\\u{{{ord(c):x}}}" for c in text),
    "eight digits": lambda text: "".join(f"\\U{ord(c):08x}" for c in text),
    "octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "hex of gzip": lambda text: gzip.compress(f"a line: {text}\n".encode(), mtime=0).hex(),
    "base64 of gzip": lambda text: base64.b64encode(gzip.compress(f"a line: {text}\n".encode(), mtime=0)).decode(),
}


def _pick(rng: random.Random, options: tuple[str, ...]) -> str:
    return options[rng.randrange(len(options))]


def _plant(template: str, secret: str, rng: random.Random) -> str:
    return fill(template.replace("{S}", "\0"), rng).replace("\0", secret)


def _plain_secrets(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Yield kind, text and secret, each kind once and every form of it over time."""
    for kind, forms in TOKENS.items():
        secret = fill(_pick(rng, forms), rng)
        planted = _pick(rng, _TOKEN_CONTEXTS).replace("{S}", secret)
        yield kind, planted, secret.removeprefix("AccountKey=")
    for kind, cases in _STRUCTURES.items():
        for template, form in rng.sample(cases, min(len(cases), _MOST_CASES) if kind in _SHAPES["structured"] else 1):
            secret = fill(form, rng)
            yield kind, _plant(template, secret, rng), secret
    for names, forms, kind in (
        (NAMES_PASSWORD, _PASSWORD_VALUES, "password"),
        (NAMES_SECRET, _SECRET_VALUES, "named secret"),
    ):
        for _ in range(12):
            secret = fill(_pick(rng, forms), rng)
            notation = _pick(rng, _NOTATIONS)
            yield kind, notation.replace("{K}", rng.choice(names)).replace("{V}", secret), secret


def _plain_identities(rng: random.Random) -> Iterator[tuple[str, str, str]]:
    for kind, cases in _IDENTITIES.items():
        for template, form in rng.sample(cases, min(len(cases), _MOST_CASES)):
            secret = fill(form, rng)
            yield kind, _plant(template, secret, rng), secret


def positives(seed: int, encodings: dict[str, Callable[[str], str]], rounds: int = 1) -> list[Sample]:
    """Return samples of every kind in every encoding, `rounds` times with new values."""
    rng = random.Random(seed)
    samples: list[Sample] = []
    for _ in range(rounds):
        for name, encode in encodings.items():
            for group, source in (("structured", _plain_secrets), ("identity", _plain_identities)):
                samples += [Sample(encode(text), secret, group, kind, name) for kind, text, secret in source(rng)]
    return samples


def leaks(sample: Sample, redacted: str) -> bool:
    """Whether the planted value, or half of it, can still be read in `redacted`, however it is spelled."""
    secret = sample.secret or ""
    if redacted == sample.text:
        return True
    half = max(4, len(secret) // 2)
    parts = [secret[i : i + half] for i in range(len(secret) - half + 1)]
    return any(part in view for view in _readings(redacted) for part in parts if part.strip() == part)


def _readings(text: str) -> Iterator[str]:
    yield text
    for _ in range(4):
        text = re.sub("\x1b\\[[0-9;]*m|<wbr>|[\u200b\u2060\u061c]", "", text)
        text = html.unescape(urllib.parse.unquote(text))
        text = re.sub(r"\\+(?:u([0-9a-f]{4})|U([0-9a-f]{8})|u\{([0-9a-f]+)\})", _code_point, text)
        text = re.sub(r"\\+([0-3][0-7]{2})", lambda m: chr(int(m[1], 8)), text)
        text = re.sub(r"\\+(n|[\"'/\\])", lambda m: "\n" if m[1] == "n" else m[1], text)
        yield text
    for run in re.findall(r"[A-Za-z0-9+/_-]{16,}={0,2}", text):
        yield from _decodings(run)


def _code_point(match: re.Match[str]) -> str:
    return chr(int(match[1] or match[2] or match[3], 16))


def _decodings(run: str) -> Iterator[str]:
    padded = run.rstrip("=") + "=" * (-len(run.rstrip("=")) % 4)
    with suppress(binascii.Error):
        yield base64.b64decode(padded, altchars=b"-_" if "-" in run or "_" in run else None).decode("utf-8", "ignore")
    with suppress(binascii.Error, OSError, EOFError, zlib.error):
        yield gzip.decompress(base64.b64decode(padded)).decode("utf-8", "ignore")
    if re.fullmatch(r"(?:[0-9a-f]{2})+", run.removeprefix("0x")):
        raw = bytes.fromhex(run.removeprefix("0x"))
        yield raw.decode("utf-8", "ignore")
        with suppress(OSError, EOFError, zlib.error):
            yield gzip.decompress(raw).decode("utf-8", "ignore")


_NEGATIVES: dict[str, tuple[str, ...]] = {
    "at sign": (
        "FROM node@sha256:{h64}",
        '"lodash@npm:^4"',
        'resolution: "react@npm:18.2.0"',
        "getty@tty1.service: Deactivated",
        "systemctl status user@1000.service",
        '"typescript@patch:typescript@^5.0"',
    ),
    "backslash": (
        '{"text": "ERROR\\nfailed to build"}',
        '{"text": "login: ADMIN\\nPlease wait"}',
        "HKLM\\Software\\Acme",
        "HKCU\\software",
        "NT AUTHORITY\\SYSTEM",
        "BUILTIN\\administrators",
        "r'\\\\server\\share\\x'",
        "AB\\cdot CD = AB\\parallel EF",
        "use App\\Models\\User;",
        "^[A-Z]+\\s\\d+$ and TODO\\b",
        "C:\\Windows\\System32",
        '"\\\\u20ac\\\\U0001d121"',
    ),
    "password in a sentence": (
        "a password PBKDF2-HMAC-SHA256 can derive a key from",
        "the password reset page",
        "a long phrase is the best password",
        "password v2.1 of the form",
        "log in with OAuth2 and password",
        "Python3 is the password manager's language",
        "password OAuth2 grant",
        "Password\nStrength: weak",
        "pin: 13",
        "PIN 7 of the header",
        "connect pin 12 to GND",
        "the password has 12 characters",
        "log in with the button / press F1",
    ),
    "account of nobody": (
        '@import "~bootstrap/scss/mixins"',
        '"AWS::IAM::User": "{h16}"',
        '{"role": "user"}',
        "uid=0(root) gid=0(root) groups=0(root)",
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
        "cd ~/src && ls ~",
    ),
    "other languages": (
        "der Schlüssel zum Erfolg",
        "Passwort vergessen?",
        "Passwort: bitte eingeben",
        "mot de passe oublié",
        "La clave del éxito es la práctica",
        "ключ к успеху",
        "密码是什么",
        "パスワードを忘れた",
        "wachtwoord vergeten",
    ),
    "numbers": (
        "1790553600000",
        "assert s == +9.869604",
        "order {d10}",
        "2026-11-30T19:26:49.567Z",
        "4111 1111 1111 1112",
        "DE89370400440532013001",
        "timezone +0200",
        "build 20261130123456",
        "1,234,567,890",
        "lat 52.520008, 13.404954",
        "2147483647",
        "@@ -1234,567 +1234,568 @@",
        "isbn 978-3-16-148410-0",
        "2026-11-30 12:34:56,789 INFO",
        '{"tokens_in": {d9}}',
    ),
    "no secret": (
        "user.setPassword(null)",
        "client.set_token(token)",
        'get_secret("prod/db")',
        'var key string = "name"',
        "<token>\n</token>",
        "def set_token(self, token: str) -> None:",
        "machine learning default password policy",
        "self.password_handler = HTTPBasicAuthHandler",
        "BasicAuth{Username: username, Password: raw.Token}",
        "(authorization|bearer|password|private[_-]?key|secret1)",
        "see Managing passwords for IAM users <https://docs.acme.dev/UserGuide/id_passwords_a1>",
        "sudo -u postgres psql",
        "chown root:root /srv",
    ),
    "uuid": (
        "{uuid}",
        "request {uuid} took 12 ms",
        '{"id":"{uuid}","parentUuid":"{uuid}"}',
        "session_key: {uuid}",
        "/v1/items/{uuid}/state",
    ),
    "git sha": (
        "commit {h40}",
        "{h7} Fix the parser",
        "index {h7}..{h7} 100644",
        "HEAD is now at {h8} Merge branch",
        "Merge: {h7} {h7}",
        '"gitHead": "{h40}"',
        'rev = "{h40}"',
    ),
    "hash": (
        "{h64}  dist/app.tar.gz",
        "md5: {h32}",
        "sha256:{h64}",
        '"checksum": "{h64}"',
        'etag: "{h32}"',
        'ETag: W/"{h32}"',
        "cache-key: {h40}",
        "Digest: SHA-256={b43}=",
    ),
    "image": (
        '<img src="data:image/png;base64,iVBORw0KGgo{b300}">',
        "url(data:font/woff2;base64,d09GMgABAAAAA{b400}==)",
        '{"type":"image","data":"/9j/4AAQSkZJRg{b900}"}',
    ),
    "integrity": (
        '"integrity": "sha512-{b86}=="',
        "  integrity sha512-{b86}==",
        'integrity="sha384-{b64}"',
        "h1:{b43}=",
        "sha256-{b43}=",
    ),
    "lock file": (
        'checksum = "{h64}"',
        "github.com/stretchr/testify v1.9.0 h1:{b43}=",
        '"resolved": "https://packages.acme.dev/lodash/-/lodash-4.17.21.tgz#{h40}"',
        'source = "registry+https://index.acme.dev/crates"',
        '    {file = "idna-3.7-py3-none-any.whl", hash = "sha256:{h64}"},',
        "lodash@^4.17.20, lodash@^4.17.21:",
        'name = "token-parser"\nversion = "1.2.3"',
        '"node_modules/@babel/key-words": {"version": "7.{d2}.1", "dev": true}',
    ),
    "python": (
        'password = os.environ["DB_PASSWORD"]',
        "def get_token(self, token: str) -> Token:",
        "token = tokenizer.next_token()",
        'parser.add_argument("--password", help="The password to use")',
        "if not verify_password(password, user.password_hash):",
        "api_key=settings.api_key,",
        "max_tokens=4096, temperature=0.7",
        "key = lambda item: item.created_at",
        "secret = secrets.token_hex(32)",
        "self._auth = auth or NoAuth()",
        'raise ValueError("token must not be empty")',
        "for key, value in sorted(mapping.items()):",
        "password: SecretStr | None = None",
        "tokens = [t for t in doc if t.is_alpha]",
        "headers = {'Authorization': f'Bearer {token}'}",
        'raise KeyError(f"unknown key {key!r}, expected one of {known}")',
    ),
    "javascript": (
        "const token = await getToken(session.user.id);",
        "const { password, ...rest } = req.body;",
        "if (key === 'Enter') handleSubmit();",
        "export const AUTH_COOKIE_NAME = 'acme_session';",
        '<input type="password" name="password" autocomplete="current-password" />',
        "localStorage.setItem('token', response.data.token);",
        "apiKey: process.env.REACT_APP_API_KEY,",
        "return bcrypt.compare(password, this.passwordHash);",
        'import {KeyboardEvent} from "react"',
        "import { useAuthToken } from '@/hooks/use-auth-token'",
        "key={`${item.id}-${index}`}",
        "headers: { Authorization: `Bearer ${accessToken}` },",
    ),
    "rust and go": (
        "let token = Token::new(TokenKind::Ident, span);",
        "fn parse_key(&mut self) -> Result<Key, ParseError> {",
        "func (c *Client) SetToken(token string) { c.token = token }",
        "pub struct Credentials { pub username: String, pub password: String }",
        'if err != nil { return fmt.Errorf("auth: %w", err) }',
        'secretKey := os.Getenv("SECRET_KEY")',
        'let key = format!("{}:{}", prefix, id);',
        "std::collections::HashMap<KeyType, ValueType>",
    ),
    "sql and config": (
        "password VARCHAR(255) NOT NULL,",
        "primary key (tenant_id, user_id)",
        "DB_PASSWORD=${DB_PASSWORD}",
        "API_KEY=your-api-key-here",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        'password: "{{ vault_db_password }}"',
        "  secretName: app-tls",
        "secretKeyRef: {name: app-secrets, key: db-password}",
        'password = "changeme"',
        "auth: none",
        "keepalive_timeout 65;",
        "key_size = 2048",
    ),
    "usage": (
        '{"input_tokens":{d4},"output_tokens":{d3},"cache_read_input_tokens":{d5},"service_tier":"standard"}',
        '{"type":"tool_use","id":"toolu_01{an22}","name":"Bash"}',
        '{"id":"msg_01{an22}","role":"assistant","model":"claude-sonnet-4-5-20250929"}',
        '"requestId":"req_011{an22}"',
        '{"call_id":"call_{an24}","type":"function_call"}',
        "chatcmpl-{an29}",
        '"signature":"Er{b400}=="',
    ),
    "prose": (
        "The password field should be masked, and the token count shown beside it.",
        "We store a secret in the vault and rotate the key every 90 days.",
        "Please reset your password: it expires in 14 days.",
        "Authentication: bearer tokens are accepted; basic authentication is not.",
        "Each API key is tied to one project. See the section on tokens below.",
        "Keys are sorted; the key is the user id and the value is the count of sessions.",
        "Author: the team. Reviewed at noon.",
        "The secret to good tests is small fixtures, e.g. three rows.",
        "Use a password manager with a long passphrase instead of reusing one.",
    ),
    "url": (
        "https://docs.python.org/3/library/secrets.html#module-secrets",
        "https://github.com/python/cpython/blob/{h40}/Lib/token.py#L{d2}",
        "https://www.youtube.com/watch?v={w11}",
        "https://acme.dev/search?q=reset+password&page=2",
        "https://example.com/a/b/c?id={d6}&sort=key&utm_source=mail",
        "http://localhost:3000/api/auth/session",
        "https://docs.google.com/document/d/1{w43}/edit",
        "https://cdn.acme.dev/assets/index-{an8}.js?v={d10}",
    ),
    "time": (
        "2026-03-{d1}T10:11:{d2}.{d6}Z",
        "10:11:12 up 3 days, load average: 0.1{d1}, 0.20, 0.30",
        "1{d9}",
        "took 00:01:{d2}",
        "Mon, 01 Jan 2026 10:{d2}:00 GMT",
        "17{d11}",
    ),
    "version": (
        "v1.{d2}.{d1}",
        "1.2.3.{d2}",
        "numpy==2.{d1}.3",
        '"react": "^18.{d1}.0"',
        "Python 3.11.{d1} (main, Jan 1 2026, 00:00:00) [GCC 12.2.0]",
        "Chrome/126.0.{d4}.{d2} Safari/537.36",
        "version: 10.0.{d5}.1",
        "assembly 4.0.0.0",
        "com.acme:key-store:2.{d1}.0.RELEASE",
    ),
    "minified": (
        (
            '!function(e,t){"object"==typeof exports?t(exports):t((e=e||self).lib={})}'
            '(this,function(e){var t="{an6}",n={key:"value",tokens:[]};e.auth=t});'
        ),
        'var a=Object.keys(e).filter(function(k){return k!=="token"}),b=a.length;for(var c=0;c<b;c++)d[a[c]]=e[a[c]];',
        (
            "(self.webpackChunk=self.webpackChunk||[]).push([[{d3}],{{d4}:(e,t,n)=>{n.d(t,{Z:()=>r});"
            "const r=e=>e.password?e.password.length>7:!1}}]);"
        ),
    ),
    "log": (
        "[info] auth: token refreshed for session {uuid} in {d2} ms",
        "GET /api/keys 200 {d2}ms - {d4}",
        "   Compiling token-stream v0.{d1}.3",
        "at Object.getToken (src/auth/token.service.ts:{d2}:{d2})",
        "remote: Counting objects: 100% ({d2}/{d2}), done.",
        "pod/api-7d9f8b6c5d-x2x4z Running",
        "drwxr-xr-x 2 root root 4096 Jan  1 10:11 secrets",
        "Step 3/9 : COPY --from=build /app/dist /usr/share/nginx/html",
        "arn:aws:iam::{d12}:role/deploy-key-rotation",
        "registry.acme.dev/app@sha256:{h64}",
    ),
    "interface": (
        '"password": "Password",',
        '"login.password.label": "Your password",',
        '"forgotPassword": "Forgot your password?",',
        '"token_expired": "Your session has expired",',
        'placeholder="Enter API key"',
        '<label for="api-key">API key</label>',
        'aria-label="Toggle password visibility"',
    ),
    "path": (
        "src/components/auth/TokenInput.tsx",
        "/usr/lib/python3/dist-packages/secretstorage/__init__.py",
        "/etc/ssl/private/server.key",
        "node_modules/.pnpm/jsonwebtoken@9.0.{d1}/node_modules/jsonwebtoken/index.js",
        "target/debug/deps/token_parser-{h16}.rlib",
        "/home/runner/build/app",
        "./scripts/rotate-keys.sh --dry-run",
        "tests/fixtures/api_key_rotation_{d2}.json",
    ),
    "local": (
        "127.0.0.1:5432",
        "0.0.0.0:8080",
        "git@github.com",
        "noreply@github.com",
        "localhost:3000",
        "ping 8.8.8.8",
        "::1",
        "user@example.com",
    ),
    "css and markup": (
        ".token.keyword { color: #0{h5}; }",
        '<path d="M{d2}.{d2} {d2}.5c0-{d1}.2-3.{d2}-4-{d1}-4z"/>',
        '<a href="#api-key" class="nav-link">Keys</a>',
        "@keyframes fade-in { from { opacity: 0 } to { opacity: 1 } }",
        '<span class="hljs-attr">password</span>',
    ),
}


_NEGATIVES |= {kind: tuple(templates) for kind, templates in _SHAPES["negative"].items()}


def _fill_negative(template: str, rng: random.Random) -> str:
    return re.sub(r"\{(?:uuid|(?:an|[whHuldbBacp])\d+)\}", lambda match: fill(match[0], rng), template)


def negatives(seed: int, encodings: dict[str, Callable[[str], str]], rounds: int = 1) -> list[Sample]:
    """Return texts that hold nothing to redact, in every encoding, `rounds` times with new values."""
    rng = random.Random(seed)
    return [
        Sample(encode(_fill_negative(template, rng)), None, "negative", kind, name)
        for _ in range(rounds)
        for name, encode in encodings.items()
        for kind, templates in _NEGATIVES.items()
        for template in templates
    ]

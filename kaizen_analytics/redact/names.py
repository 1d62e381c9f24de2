"""What the name beside a value promises: a password, a secret, perhaps a key, or nothing."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache


class Promise(Enum):
    """How much a name says about its value."""

    NOTHING = auto()
    PASSWORD = auto()
    SECRET = auto()
    WEAK = auto()  # a bare "key" or "auth": believe only a random value


_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORDS = frozenset(
    "password passwd pwd pass passphrase passwort kennwort passcode contrasena contraseña senha pw pswd passwrd userpass dbpass rootpw adminpw"
    " pgpassword mysqlpassword rootpassword adminpassword dbpassword userpassword sshpass smtppass storepass keypass storepassword keypassword".split(),
)
_SECRETS = frozenset(
    "secret secrets secretkey apikey apikeys apisecret apitoken accesskey accesstoken authkey authtoken privatekey clientsecret clientkey"
    " appkey appsecret signingkey encryptionkey masterkey sharedkey token tokens jwt bearer credential credentials creds sessionkey sessiontoken"
    " refreshtoken idtoken accountkey sharedaccesskey servicekey licensekey deploykey webhooksecret mnemonic otp totp sas sastoken appsecret"
    " consumersecret oauthtoken bottoken pat".split(),
)
_KEY_QUALIFIERS = frozenset(
    "api access auth private client encryption encrypt signing sign account shared license licence master secret service deploy admin app application"
    " consumer write read sdk webhook session server management project subscription ingestion integration instrumentation"
    " storage crypto cipher aes rsa hmac jwt ssh gpg pgp wallet user team org personal root super publishable live ecdsa ed25519 psk preshared"
    " wpa wifi wep maps places tenant function host cosmos primary secondary vault unseal recovery fernet decryption decrypt hash pepper iam aws gcp azure"
    " openai anthropic stripe datadog dd twilio sendgrid algolia heroku cloudflare google github gitlab".split(),
)
_HARMLESS_QUALIFIERS = frozenset(
    "public foreign cache sort partition idempotency idempotent dedup dedupe row map dict group lookup natural composite unique hot short arrow tab"
    " index keyboard bucket object s3 sequence schema routing column json query translation i18n react list item span trace fingerprint"
    " event max min num n total input output prompt completion reasoning cached count next page continuation cursor csrf xsrf pagination sync resume special"
    " stop eos bos pad unk sep mask cls begin end any extra per avg mean used remaining context window new line string comment keyword operator punctuation"
    " left right current previous peek expected unexpected lexer parser syntax budget thinking cost audio text image subword byte bpe delta checkpoint message".split(),
)
_HARMLESS_ENDS = frozenset(
    "id ids name names type types kind count counts length len size limit limits index idx file files filename path paths dir url uri urls uris endpoint host port alias"
    " version expiry expires expire expiration expired ttl at in out used usage budget policy algo algorithm alg field fields column columns format class error"
    " errors list map store ring board code codes word words prompt required enabled disabled regex pattern rule rules scanner detector detection validator"
    " validation manager provider service factory handler helper util utils interface model schema label title hint description desc help text placeholder input"
    " mode status state style strength reset change changed confirm confirmation forgot rotate rotation refresh ref refs reference arn region user username email"
    " link page screen form button modal view route middleware guard module plugin method methods scheme schemes header headers prefix suffix scope scopes"
    " info data64 exists valid invalid present missing set get created updated at date time timestamp ms seconds hours days min max default none null"
    " generator gen strategy options option config configuration settings setting test tests spec event events hook hooks hash hashes digest fingerprint checksum"
    " izer ization izing ized izes iser ise ize ising isation ism ary aries es s ed ing er ers or ors ority entic entication orization orize less ive ly through phrase press down up frame pair pairs kind kinds value_type".split(),
)
_IDENTIFYING = {("secret", "id"), ("session", "id"), ("sess", "id")}


@lru_cache(maxsize=16384)
def judge_name(name: bytes) -> Promise:
    """Return what an identifier such as `DB_PASSWORD`, `apiKey` or `max_tokens` promises about its value."""
    words = [word.lower() for word in _SPLIT.findall(name.decode("latin-1"))]
    words = [word for word in words if not word.isdigit()]
    if not words:
        return Promise.NOTHING
    if tuple(words[-2:]) in _IDENTIFYING or words[-1] in {"sessionid", "phpsessid", "jsessionid", "sid", "sessid"}:
        return Promise.SECRET
    if words[-1] in _HARMLESS_ENDS and words[-1] not in {"s"}:
        return Promise.NOTHING
    return _judge_words(words)


def _judge_words(words: list[str]) -> Promise:
    before = set(words[:-1])
    last = words[-1]
    if any(word in _PASSWORDS or word.endswith(("password", "passwd", "passphrase")) for word in words):
        return Promise.PASSWORD
    if "secret" in words or "secrets" in words or last.endswith("secret"):
        return Promise.SECRET
    if last in {"token", "tokens"}:
        return Promise.NOTHING if before & _HARMLESS_QUALIFIERS or last == "tokens" else Promise.SECRET
    if any(word in _SECRETS for word in words):
        return Promise.SECRET if not before & _HARMLESS_QUALIFIERS else Promise.WEAK
    if (
        last in {"key", "keys", "auth", "signature", "sig", "seed", "salt", "data", "base", "pem", "pin"}
        or "key" in words
    ):
        return _judge_key(before, words)
    return Promise.NOTHING


def _judge_key(before: set[str], words: list[str]) -> Promise:
    if before & _HARMLESS_QUALIFIERS:
        return Promise.NOTHING
    if before & _KEY_QUALIFIERS and ("key" in words or "keys" in words):
        return Promise.SECRET
    return Promise.WEAK

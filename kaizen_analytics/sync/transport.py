"""One HTTP request, and what its answer means: taken, try again, never, or not with these settings."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kaizen_analytics import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.sync.settings import Settings

_REASON_CHARS = 200
_READ_BYTES = 1 << 16
_AGAIN = frozenset({408, 409, 425, 429})
"""Besides 5xx. 409: a request with the same key is still in work."""
_SETTINGS = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426, 431, 451})
"""Every batch would get this answer, so none is parked for it."""


class Meaning(StrEnum):
    """What an answer means for the batch."""

    TAKEN = "taken"
    AGAIN = "again"
    NEVER = "never"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or the lack of one. `retry_after_s` is what the endpoint asked for."""

    meaning: Meaning
    reason: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTransport:
    """Posts batches to one endpoint. `now_s` is the clock for `Retry-After` dates (seconds since the epoch)."""

    settings: Settings
    token: str | None = field(repr=False)
    now_s: Callable[[], float]

    def post(self, body: str, batch_key: str) -> Answer:
        """Send one body and return what the answer means; a connection that fails means to try again."""
        parts = urlsplit(self.settings.url)
        target = parts.path or "/"
        target += f"?{parts.query}" if parts.query else ""
        connection = self._connect(parts.hostname or "", parts.port, is_encrypted=parts.scheme == "https")
        try:
            connection.request("POST", target, body.encode(), make_headers(batch_key) | self._authorisation())
            response = connection.getresponse()
            text = _read_answer(response)
        except ssl.SSLCertVerificationError as error:
            return Answer(
                Meaning.REFUSED, f"the certificate of {parts.hostname} is not trusted: {error.verify_message}"
            )
        except (OSError, http.client.HTTPException) as error:
            return Answer(Meaning.AGAIN, self._clean(f"{type(error).__name__}: {error}"))
        finally:
            connection.close()
        return self._judge(response.status, text, response.getheader("Retry-After"))

    def _connect(self, host: str, port: int | None, *, is_encrypted: bool) -> http.client.HTTPConnection:
        timeout_s = self.settings.timeout_s
        if is_encrypted:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout_s)

    def _authorisation(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def _judge(self, status: int, text: bytes, retry_after: str | None) -> Answer:
        if 200 <= status < 300:
            return Answer(Meaning.TAKEN)
        said = self._clean(text.decode("utf-8", "replace"))
        reason = f"HTTP {status}{f': {said}' if said else ''}"
        if status >= 500 or status in _AGAIN:
            return Answer(Meaning.AGAIN, reason, parse_retry_after(retry_after, self.now_s()))
        if status < 400 or status in _SETTINGS:
            return Answer(Meaning.REFUSED, reason)
        return Answer(Meaning.NEVER, reason)

    def _clean(self, text: str) -> str:
        """Return what may be kept of foreign text: one short line of it, without the token."""
        line = "".join(letter if letter.isprintable() else " " for letter in text)
        if self.token is not None:
            line = line.replace(self.token, "...")
        return " ".join(line.split())[:_REASON_CHARS]


def _read_answer(response: http.client.HTTPResponse) -> bytes:
    """Return the beginning of an answer; one that was cut off is an error, which reading a part does not notice."""
    text = response.read(_READ_BYTES)
    if response.length and len(text) < _READ_BYTES:
        raise http.client.IncompleteRead(text, response.length)
    return text


def make_headers(batch_key: str) -> dict[str, str]:
    """Return the headers of a request, but for its authorisation."""
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": batch_key,
        "User-Agent": f"kaizen_analytics/{__version__}",
    }


def parse_retry_after(text: str | None, now_s: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3); None where it says nothing."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now_s, UTC)).total_seconds())

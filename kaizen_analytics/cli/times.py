"""Times on the command line: ISO 8601, or a while ago such as `7d`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from kaizen_analytics.errors import ConfigError

_AGO = re.compile(r"(\d{1,6})([dh])")

TIME_HELP = "ISO date or time (UTC unless it names an offset), or a while ago: 7d, 12h."


def read_clock() -> int:
    """Return the time now, in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def parse_time(text: str, now_ms: int) -> int:
    """Return the milliseconds since the Unix epoch that `text` names.

    Raises:
        ConfigError: it is neither an ISO 8601 date or time nor a while ago.
    """
    if ago := _AGO.fullmatch(text.strip()):
        length = timedelta(days=int(ago[1])) if ago[2] == "d" else timedelta(hours=int(ago[1]))
        return now_ms - round(length.total_seconds() * 1000)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a time; expected a date (2026-10-05), a time (2026-10-05T08:00Z) or a while ago (7d).",
        ) from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


def parse_optional_time(text: str | None, now_ms: int) -> int | None:
    """Return `parse_time`, or None for an option that was not given."""
    return None if text is None else parse_time(text, now_ms)

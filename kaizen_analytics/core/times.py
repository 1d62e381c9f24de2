"""The time now, and times that people write: ISO 8601, or a while ago such as `7d`."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kaizen_analytics.core.errors import ConfigError

DAY_MS = 86_400_000

CALENDAR_MS = range(-62_135_510_400_000, 253_370_764_800_000)
"""The times that have a date in every zone: from the second day of year 1 to the last of 9998.

Transcripts of a broken clock are kept at the time of the record before, but a store may hold later times.
"""

_AGO = re.compile(r"(\d{1,6})([dh])")


def read_clock() -> int:
    """Return the time now, in milliseconds since the Unix epoch.

    >>> read_clock() > 1_700_000_000_000
    True
    """
    return time.time_ns() // 1_000_000


def parse_time(text: str, now_ms: int, timezone: str = "UTC") -> int:
    """Return the milliseconds since the Unix epoch that `text` names; without an offset it is a time in `timezone`.

    Raises:
        ConfigError: it is neither an ISO 8601 date or time nor a while ago.

    >>> parse_time("1970-01-02", 0), parse_time("12h", 86_400_000), parse_time("1970-01-02", 0, "Asia/Tokyo")
    (86400000, 43200000, 54000000)
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
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC if timezone == "UTC" else ZoneInfo(timezone))
    return round(aware.timestamp() * 1000)

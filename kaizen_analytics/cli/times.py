"""Times on the command line: ISO 8601, or a while ago such as `7d`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from kaizen_analytics.core.settings import check_timezone, read_settings
from kaizen_analytics.core.times import CALENDAR_MS, DAY_MS, parse_time

_YEAR_MS = 365.2425 * DAY_MS
TIME_HELP = "ISO date or time (UTC unless it names an offset), or a while ago: 7d, 12h."


def render_time(ts_ms: int) -> str:
    """Return a time in UTC, to the second; of one beyond the calendar, which a store may hold, the year.

    >>> render_time(1_789_344_000_000), render_time(10**15)
    ('2026-09-14 00:00:00', 'year 33658')
    """
    if ts_ms not in CALENDAR_MS:
        return f"year {1970 + ts_ms // _YEAR_MS:.0f}"
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def local_timezone() -> str:
    """Return the name of this machine's time zone, such as `Europe/Berlin`; it follows `TZ`.

    >>> local_timezone() != ""
    True
    """
    import _duckdb as duckdb  # knows the zone on every system; the standard library knows its offset only

    with duckdb.connect() as connection:
        rows = connection.execute("select current_setting('TimeZone')").fetchall()
    zone = str(rows[0][0])
    check_timezone(zone)
    return zone


def configured_timezone(given: str | None = None) -> str | None:
    """Return the zone of an option, else that of kaizen.toml, else None.

    Raises:
        ConfigError: there is no such zone, or kaizen.toml cannot be read.

    >>> configured_timezone("Asia/Tokyo")
    'Asia/Tokyo'
    """
    zone = given or read_settings(os.environ, Path.home(), Path.cwd()).timezone
    if zone:
        check_timezone(zone)
    return zone


def choose_timezone(given: str | None) -> str:
    """Return the zone of this command: `configured_timezone`, else this machine's.

    >>> choose_timezone("Asia/Tokyo")
    'Asia/Tokyo'
    """
    return configured_timezone(given) or local_timezone()


def parse_optional_time(text: str | None, now_ms: int, timezone: str = "UTC") -> int | None:
    """Return `parse_time`, or None for an option that was not given.

    >>> parse_optional_time(None, 0), parse_optional_time("1d", 86_400_000)
    (None, 0)
    """
    return None if text is None else parse_time(text, now_ms, timezone)

"""Tells people that a report was made: by mail, chat or a web hook, at most once for each slot.

What is sent has left the machine. Only a report that was made to be shared sends its summary; of another one, and of a
run that failed, the message names the schedule and the slot and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from kaizen_analytics.reports.schedules import Outcome

WAITS_S = (0.0, 2.0, 10.0)
"""How long to wait before each attempt."""

_END = re.compile(r"\n+(?:## |---\n)")
"""Where the beginning of a page ends: its first section, or the line below it all."""

_LONGEST = 1_500
"""Characters of a summary: what every chat takes."""


def check_urls(urls: Iterable[str]) -> None:
    """Raise `ConfigError` unless each URL names a service that is known; the URL, a secret, is not repeated.

    >>> check_urls(["json://127.0.0.1:9"])
    """
    for number, url in enumerate(urls, 1):
        if not _import_apprise().Apprise().add(url):
            raise ConfigError(
                f"--notify number {number} names no service; expected a URL such as mailto://, slack:// or json://."
            )


def notify(
    outcomes: Sequence[Outcome], urls: Sequence[str], *, wait: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Tell of every run that ended, and yield a sentence for each message that did not arrive.

    A message is marked as sent in the folder of its run before it is sent: a process that is killed in between loses
    it, and no other one repeats it. Slots that another process makes, or made before, send nothing.

    Args:
        outcomes: What became of the due slots.
        urls: Where to, as apprise spells it.
        wait: Sleeps for some seconds.

    >>> list(notify([], ["json://127.0.0.1:9"]))
    []
    """
    for outcome in outcomes:
        if outcome.result is None or outcome.result.skipped:
            continue
        for url in urls:
            if _claim(outcome.result.folder, url) and not _send(outcome, url, wait):
                yield f"A message about {outcome.slot.schedule.name} could not be sent; the report is not affected."


def _claim(folder: Path, url: str) -> bool:
    """Return whether this process is the first to tell this place of the run in a folder."""
    mark = folder / f"notified-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _send(outcome: Outcome, url: str, wait: Callable[[float], None]) -> bool:
    apprise = _import_apprise()
    title, body = _write_message(outcome)
    for seconds in WAITS_S:
        wait(seconds)
        channel = apprise.Apprise()
        channel.add(url)
        if channel.notify(title=title, body=body, body_format=apprise.NotifyFormat.MARKDOWN):
            return True
    return False


def _write_message(outcome: Outcome) -> tuple[str, str]:
    r"""Return the title and the Markdown of a message.

    >>> from datetime import UTC, datetime
    >>> from kaizen_analytics.reports.schedules import DueSlot, Outcome, load_schedules
    >>> _ = (tmp / "reports.toml").write_text('[weekly]\nreport = "portfolio"\ncron = "0 6 * * 1"\n')
    >>> [weekly] = load_schedules(tmp / "reports.toml")
    >>> slot = DueSlot(schedule=weekly, at=datetime(2026, 10, 5, tzinfo=UTC), attempt=1)
    >>> _write_message(Outcome(slot=slot, result=None, error="no store", exit_code=1))
    ('weekly: not made', "The report for 2026-10-05 00:00 UTC failed. 'report list' has the reason.")
    """
    slot = outcome.slot
    moment = f"{slot.at:%Y-%m-%d %H:%M} UTC"
    if outcome.exit_code or outcome.result is None:
        return f"{slot.schedule.name}: not made", f"The report for {moment} failed. 'report list' has the reason."
    made = f"The report for {moment} was made."
    if not slot.schedule.share:
        return f"{slot.schedule.name}: made", made
    pages = [outcome.result.folder / one.path for one in outcome.result.record.outputs if one.path.endswith(".md")]
    heads = [_END.split(page.read_text(encoding="utf-8"))[0][:_LONGEST] for page in pages]
    return f"{slot.schedule.name}: made", "\n\n".join([*heads, made])


def _import_apprise() -> Any:  # noqa: ANN401 - apprise has no types
    try:
        import apprise
    except ImportError:
        raise ConfigError("--notify needs another package: pip install 'kaizen_analytics[notify]'.") from None
    return apprise

"""Settings of sync: what is refused, and what is read back."""

from __future__ import annotations

import pytest

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.store import Store
from kaizen_analytics.sync.delivery import configure, load_settings
from kaizen_analytics.sync.settings import Settings, read_token
from kaizen_analytics.sync.transport import parse_retry_after

URL = "https://metrics.example.org/kaizen"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "http://metrics.example.org/in"}, "is not encrypted; use https, or agree with --allow-http"),
        ({"url": "https://me:pw@metrics.example.org/in"}, "holds credentials"),
        ({"url": "https:///in"}, "names no host"),
        ({"url": f"{URL}#part"}, "has a fragment"),
        ({"url": "ftp://host/x"}, "A lake cannot lie at"),
        ({"tables": ("event",)}, "There is no table 'event'"),
        ({"tables": ("metrics", "metrics")}, "each table once"),
        ({"tables": ()}, "at least one"),
        ({"token_env": "s3cret token"}, "takes the name of an environment variable"),
        ({"batch_rows": 0}, "A batch has 0 rows"),
        ({"timeout_s": 0}, "The timeout is 0 s"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        Settings(**{"url": URL, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [URL, "http://localhost:8080/in", "http://127.0.0.1/in", "http://[::1]:1/in"])
def test_https_and_this_machine_are_accepted(url: str):
    assert not Settings(url=url).is_lake


def test_plain_http_needs_consent():
    assert Settings(url="http://metrics.example.org/in", allow_http=True).url


@pytest.mark.parametrize("url", ["s3://team/lake", "shared/lake", "file:///srv/lake"])
def test_what_is_no_http_is_a_lake(url: str):
    assert Settings(url=url).is_lake


def test_sync_is_off_until_somebody_enables_it(store: Store):
    with pytest.raises(ConfigError, match="Sync is not configured"):
        load_settings(store)
    configure(store, Settings(url=URL, token_env="TOKEN"), now_ms=1)
    assert load_settings(store) == Settings(url=URL, enabled=False, token_env="TOKEN")


def test_settings_of_a_newer_version_are_refused():
    with pytest.raises(ConfigError, match="hold compression, which this version does not know"):
        Settings.from_json(Settings(url=URL).to_json() | {"compression": "zstd"})


@pytest.mark.parametrize(
    ("environment", "message"), [({}, "is not set"), ({"TOKEN": ""}, "is not set"), ({"TOKEN": "a\nb"}, "cannot have")]
)
def test_a_token_that_is_missing_or_broken_is_an_error_without_it(environment: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        read_token(Settings(url=URL, token_env="TOKEN"), environment)
    assert "a\nb" not in str(caught.value)


def test_a_token_comes_from_the_environment_only():
    assert read_token(Settings(url=URL), {"TOKEN": "x"}) is None
    assert read_token(Settings(url=URL, token_env="TOKEN"), {"TOKEN": "x"}) == "x"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("\N{SUPERSCRIPT TWO}", None),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None):
    assert parse_retry_after(header, 60.0) == seconds

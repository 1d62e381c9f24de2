from __future__ import annotations

import pytest

from kaizen_analytics.redact.names import Promise, judge_name
from kaizen_analytics.redact.values import is_password, is_secret, is_strong


@pytest.mark.parametrize(
    "name",
    ["password", "DB_PASSWORD", "dbPassword", "spring.datasource.password", "PGPASSWORD", "smtp_pass", "passphrase"],
)
def test_names_of_passwords(name):
    assert judge_name(name.encode()) is Promise.PASSWORD


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "X-Api-Key",
        "API key",
        "client_secret",
        "SECRET_KEY_BASE",
        "auth_token",
        "accountKey",
        "mnemonic",
        "JWT_SECRET",
    ],
)
def test_names_of_secrets(name):
    assert judge_name(name.encode()) is Promise.SECRET


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "input_tokens",
        "cache_key",
        "primaryKeyColumn",
        "token_count",
        "keyboard",
        "monkey",
        "tokenizer",
        "password_field",
        "secretName",
        "public_key",
        "author",
        "next_page_token",
        "toolu_01kPwB2x9Kk3Zz0pwQq",
    ],
)
def test_harmless_names(name):
    assert judge_name(name.encode()) is Promise.NOTHING


@pytest.mark.parametrize("value", [b"hunter2x", b"Tr0ub4dor&3", b"a7!kQz", b"p4ssw0rd!"])
def test_passwords(value):
    assert is_password(value, quoted=True)


@pytest.mark.parametrize(
    "value",
    [
        b"changeme",
        b"${DB_PASSWORD}",
        b"process.env.PASSWORD",
        b"required",
        b"your-password-here",
        b"string",
        b"user.password_hash",
        b"VARCHAR",
        b"1.2.3",
        b"<password>",
        b"%s",
        b"********",
    ],
)
def test_placeholders_are_no_passwords(value):
    assert not is_password(value, quoted=True)


@pytest.mark.parametrize(
    "value",
    [
        b"settings.api_key",
        b"msg_01abcdefgh23456789",
        b"2026-01-01T00:00:00Z",
        b"v1.20.3",
        b"/etc/ssl/private/server.key",
        b"refresh-token-1",
        b"true",
        b"MAX_TOKENS_2",
        b"1234567",
    ],
)
def test_references_are_no_secrets(value):
    assert not is_secret(value, quoted=True)


def test_only_long_random_values_are_strong():
    assert is_strong(b"q8Zk3vX0pL2m")
    assert not is_strong(b"password-one")
    assert not is_strong(b"hunter2")

"""What a name promises, and whether a value is a credential."""

from __future__ import annotations

import pytest

from kaizen_analytics.redact.values import Promise, is_password, is_secret, is_strong, judge_name

NAMES = {
    Promise.PASSWORD: """
        password DB_PASSWORD dbPassword spring.datasource.password PGPASSWORD smtp_pass passphrase pass_phrase
        JWT_SECRET
    """,
    Promise.SECRET: """
        api_key apiKey X-Api-Key client_secret SECRET_KEY_BASE auth_token accountKey mnemonic WEBHOOK_SECRET
        cookie_key GH_PAT
    """,
    Promise.ACCOUNT: "user username currentUser user_name",
    Promise.AGENT: "author owner createdBy assigned_to reviewers RegisteredOwner",
    Promise.PERSON: "full_name displayName contactName registrant.name Nombre ФИО 氏名",
    Promise.NAME_PART: "surname firstName setFirstName Prénom Фамилия",
    Promise.HOST: "hostname dbHost Rechnername serveur 主机名",
    Promise.ORGANISATION: "companyName userdomain Société",
    Promise.TENANT: "tenantId AZURE_SUBSCRIPTION_ID organizationUuid",
    Promise.PLACE: "street shippingAddress Anschrift",
    Promise.NOTHING: """
        max_tokens input_tokens cache_key primaryKeyColumn token_count keyboard monkey tokenizer password_field
        secretName public_key next_page_token toolu_01kPwB2x9Kk3Zz0pwQq
    """,
}
PASSWORDS = "hunter2x Tr0ub4dor&3 a7!kQz p4ssw0rd!"
PLACEHOLDERS = """
    changeme ${DB_PASSWORD} process.env.PASSWORD required your-password-here string user.password_hash VARCHAR 1.2.3
    <password> %s ********
"""
REFERENCES = """
    settings.api_key msg_01abcdefgh23456789 2026-01-01T00:00:00Z v1.20.3 /etc/ssl/private/server.key refresh-token-1
    true MAX_TOKENS_2 1234567
"""


@pytest.mark.parametrize("promise", NAMES)
def test_names_promise_what_they_say(promise):
    assert {name: judge_name(name.encode()) for name in NAMES[promise].split()} == dict.fromkeys(
        NAMES[promise].split(), promise
    )


def test_a_name_of_two_words_promises_as_one():
    assert judge_name(b"API key") is Promise.SECRET


def test_passwords_are_told_from_placeholders():
    assert [value for value in PASSWORDS.split() if not is_password(value.encode(), quoted=True)] == []
    assert [value for value in PLACEHOLDERS.split() if is_password(value.encode(), quoted=True)] == []


def test_references_are_no_secrets():
    assert [value for value in REFERENCES.split() if is_secret(value.encode(), quoted=True)] == []


def test_only_long_random_values_are_strong():
    assert [is_strong(value) for value in (b"q8Zk3vX0pL2m", b"password-one", b"hunter2")] == [True, False, False]

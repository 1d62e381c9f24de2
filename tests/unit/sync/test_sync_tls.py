"""Sync over TLS: a certificate that nobody vouches for gets nothing."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from endpoints import Endpoint, serve

from kaizen_analytics.sync.settings import Settings
from kaizen_analytics.sync.transport import HttpTransport, Meaning

pytestmark = pytest.mark.system


@pytest.fixture
def certificate(tmp_path: Path, need_tool) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that it signed itself, and a server's context with it."""
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [need_tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=test"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


def post(url: str):
    transport = HttpTransport(settings=Settings(url=url, timeout_s=5), token="s3cret", now_s=lambda: 0.0)
    return transport.post("{}", "k1")


def test_an_unknown_certificate_gets_neither_body_nor_token(certificate: tuple[Path, ssl.SSLContext]):
    with serve(Endpoint(), certificate[1]) as endpoint:
        answer = post(endpoint.url)
    assert answer.meaning is Meaning.REFUSED
    assert "the certificate of 127.0.0.1 is not trusted" in answer.reason
    assert endpoint.requests == []


def test_a_certificate_that_was_added_is_trusted(certificate: tuple[Path, ssl.SSLContext], monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serve(Endpoint(), certificate[1]) as endpoint:
        assert post(endpoint.url).meaning is Meaning.TAKEN
    assert endpoint.requests == [("k1", b"{}")]

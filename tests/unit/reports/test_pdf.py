"""The page as PDF: what is missing is named, nothing is fetched, the same page gives the same bytes."""

from __future__ import annotations

import http.server
import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.reports import pdf
from kaizen_analytics.reports.pdf import render_pdf

PAGE = "<!doctype html><html lang='en'><title>A page</title><p>Some words.</p><svg width='9' height='9'></svg></html>"


def test_the_pip_line_is_named_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'kaizen_analytics[pdf]'")) as caught:
        render_pdf(PAGE)
    assert caught.value.exit_code == 2


def test_the_package_of_the_system_is_named_without_pango(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"cannot load library 'libpango-1.0-0'\nfor {name}")

    monkeypatch.setattr(pdf.importlib, "import_module", refuse)
    with pytest.raises(ConfigError, match=r"cannot load library 'libpango-1.0-0'\. On Debian .* apt install libpango"):
        render_pdf(PAGE)


def test_a_machine_without_fonts_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "fonts").mkdir()
    configuration = tmp_path / "fonts.conf"
    configuration.write_text(
        f"<fontconfig><dir>{tmp_path}/fonts</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
    )
    made = render_in_process({"FONTCONFIG_FILE": str(configuration)})
    assert made.returncode != 0
    assert b"ConfigError: Format pdf needs a font: No fonts configured" in made.stderr


def test_the_same_page_gives_the_same_bytes_in_every_process() -> None:
    first, second = (render_in_process({"PYTHONHASHSEED": seed}) for seed in ("1", "2"))
    assert first.stdout.startswith(b"%PDF-")
    assert first.stdout == second.stdout


@pytest.fixture
def server():
    """Serve nothing, and note what is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    serving = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}", asked
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_nothing_is_fetched(server: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = server
    (tmp_path / "local.png").write_bytes(b"x")
    images = f"<img src='{address}/a.png'><img src='file://{tmp_path}/local.png'>"
    made = render_pdf(f"<link rel=stylesheet href='{address}/b.css'><style>@import '{address}/c.css'</style>{images}")
    assert made.startswith(b"%PDF-")
    assert asked == []


def test_the_format_is_checked_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    rendering = importlib.import_module("kaizen_analytics.reports.rendering")
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    rendering.check_formats(("html", "md", "json", "ipynb"))
    with pytest.raises(ConfigError, match="needs the extra 'pdf'"):
        rendering.check_formats(("html", "pdf"))


def render_in_process(changed: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    use = "from kaizen_analytics.reports.pdf import render_pdf"
    source = f"import sys; {use}; sys.stdout.buffer.write(render_pdf(sys.argv[1]))"
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), **changed}
    command = [sys.executable, "-c", source, PAGE]
    return subprocess.run(command, capture_output=True, check=False, env=environment)

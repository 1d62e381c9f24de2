"""The page of a report as PDF, through WeasyPrint (extra `pdf`): the same HTML, its print style, nothing fetched.

The bytes depend on the page and the installed fonts only: WeasyPrint writes no time and no random id.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from typing import Any

from kaizen_analytics.errors import ConfigError


def load_weasyprint() -> Any:  # noqa: ANN401 - WeasyPrint has no types
    """Return WeasyPrint.

    Raises:
        ConfigError: it is not installed, or the machine lacks Pango or any font.
    """
    try:
        with warnings.catch_warnings():
            # When imported, WeasyPrint looks for Pango and fonts; it warns of the latter and would fail later.
            warnings.filterwarnings("error", ".*Expect ugly output", UserWarning)
            return importlib.import_module("weasyprint")
    except ImportError as error:
        raise ConfigError("Format pdf needs the extra 'pdf': pip install 'kaizen_analytics[pdf]'.") from error
    except UserWarning as error:
        raise ConfigError(
            f"Format pdf needs a font: {error} On Debian and Ubuntu: apt install fonts-liberation.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"Format pdf needs the library Pango 1.44 or newer: {str(error).splitlines()[0]}. On Debian and Ubuntu: "
            "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0.",
        ) from error


def render_pdf(page: str) -> bytes:
    """Return a self-contained HTML page as tagged PDF.

    Raises:
        ConfigError: WeasyPrint, a library that it needs, or any font is missing.
    """
    weasyprint = load_weasyprint()
    # It logs each rule that is for screens only.
    logging.getLogger("weasyprint").setLevel(logging.ERROR)
    fetcher = weasyprint.URLFetcher(allowed_protocols=("data",))
    return bytes(weasyprint.HTML(string=page, url_fetcher=fetcher).write_pdf(pdf_tags=True))

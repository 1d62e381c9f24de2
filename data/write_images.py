"""Photograph reports on the sample for docs/images; needs Chromium.

    python data/write_images.py [FOLDER]

Run it after a change of how pages look, and look at the pictures before they are committed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sample_store import write_store
from write_golden import make_reports

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "notebooks"))

from chromium_pipe import Browser  # noqa: E402 - the browser of the tests

IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The top of one report, as a window of `width` pixels shows it; sizes in pixels."""

    name: str
    report: str
    width: int
    height: int
    dark: bool = False


PICTURES = (
    Picture(name="conclusion-light", report="conclusion-concise-instructions", width=820, height=600),
    Picture(name="conclusion-dark", report="conclusion-small-model", width=820, height=660, dark=True),
    Picture(name="conclusion-narrow", report="conclusion-concise-instructions", width=390, height=900),
    Picture(name="portfolio-light", report="portfolio", width=820, height=640),
    Picture(name="retro-light", report="retro-2026-w38", width=820, height=500),
)


def photograph(browser: Browser, page: Path, picture: Picture, folder: Path) -> Path:
    """Write one picture.

    Raises:
        RuntimeError: it is larger than a page of documentation should load.
    """
    file = folder / f"{picture.name}.png"
    browser.open(page, width=picture.width, dark=picture.dark)
    browser.screenshot(file, height=picture.height)
    if file.stat().st_size > MAX_BYTES:
        raise RuntimeError(f"{file} has {file.stat().st_size:,} bytes; at most {MAX_BYTES:,}: show less of the page.")
    return file


def main(folder: Path) -> None:
    """Make the reports and write every picture below `folder`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("Pictures need chromium on the PATH.")
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "kaizen.db"
        write_store(store)
        names = tuple(dict.fromkeys(picture.report for picture in PICTURES))
        made = make_reports(store, Path(temporary) / "reports", ("html",), names)
        browser = Browser(program, Path(temporary) / "profile")
        for picture in PICTURES:
            print(photograph(browser, made[picture.report].page, picture, folder))
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)

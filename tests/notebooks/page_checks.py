"""What holds for every page, whatever it shows: nothing is loaded, nothing is clipped, everything can be read."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

from chromium_pipe import Browser

HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)> **bold** [l](javascript:alert(1)) \x1b[31m\u202eevil\x00'
)
VIEWS = {"light": (1280, False, "screen"), "dark": (1280, True, "screen"), "print": (794, False, "print")}
VIEWS |= {"tablet": (820, False, "screen"), "phone": (390, False, "screen"), "dark-phone": (390, True, "screen")}
"""Width of the window, whether the reader prefers dark, and the medium."""


class Elements(HTMLParser):
    """The names of all elements of a page, and all their attributes."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def check_page(browser: Browser, page: Path, view: str, screenshots: Path) -> None:
    """Look at a page as a browser shows it in one of `VIEWS`; `KAIZEN_SCREENSHOTS` names a folder for what it saw."""
    width, dark, media = VIEWS[view]
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(page, width=width, dark=dark, media=media)
    assert browser.requests == [page.resolve().as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(LOW_CONTRAST) == []
    assert browser.evaluate(CLIPPED) == []
    kept = Path(os.environ.get("KAIZEN_SCREENSHOTS", screenshots)) / f"{page.parent.parent.name}-{page.stem}-{view}.png"
    browser.screenshot(kept)
    assert kept.stat().st_size > 20_000


LOW_CONTRAST = """
(() => {
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = text => (text.match(/[0-9.]+/g) || []).map(Number);
  const background = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const inside = element.closest("svg");
    const ink = parts(inside ? style.fill : style.color);
    const paper = background(element);
    const alpha = inside ? Number(style.opacity) * Number(style.fillOpacity) : 1;
    const mixed = ink.slice(0, 3).map((v, i) => v * alpha + paper[i] * (1 - alpha));
    const [light, dark] = [luminance(mixed), luminance(paper)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.tagName} ${walker.currentNode.data.trim()}`);
  }
  return found;
})()
"""
"""Texts whose contrast is below WCAG AA."""

CLIPPED = """
[...document.querySelectorAll("svg text")].filter(text => {
  const box = text.getBoundingClientRect();
  return box.width && (box.left < -1 || box.right > innerWidth + 1);
}).map(text => text.textContent)
"""
"""Texts of charts that reach beyond the page."""

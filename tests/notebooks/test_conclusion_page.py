"""The conclusion report of a real store, as files and as a browser shows it."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium_pipe import Browser

from kaizen_analytics.experiments.lifecycle import new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.model import Classification, Delta, Direction, Experiment, GuardrailSpec, ManualTag, Metric
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult
from kaizen_analytics.store import Store

HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)> **bold** [l](javascript:alert(1)) \x1b[31m\u202eevil\x00'
)
LONG = "Zusammengehörigkeitsgefühlsverstärkungsmaßnahmenkatalogversionierungsbeauftragter " * 2
SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
FORMATS = ("html", "md", "json", "pdf")
NOW = "2026-10-01T00:00:00Z"
SECTIONS = [
    "What was tried",
    "Can these numbers be trusted?",
    "Effect on every metric",
    "Where the shift lies",
    "How the estimate developed",
    "Segments",
    "What we learned, and what happens next",
    "Method and limits",
    "Where the numbers come from",
]


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


def hostile_experiment(created_at_ms: int) -> Experiment:
    return Experiment(
        id=HOSTILE.replace("\x00", ""),  # no operating system takes NUL in an argument
        name=HOSTILE,
        hypothesis=LONG,
        change_description=HOSTILE,
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field=""),
        duration_days=365,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=created_at_ms,
        guardrails=(
            GuardrailSpec(metric=Metric.SUCCESS_RATE, regression_direction=Direction.DECREASE, threshold_pct=10),
        ),
    )


@pytest.fixture(scope="module")
def conclusion(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Report on an experiment with hostile texts over the sample's sessions."""
    folder = tmp_path_factory.mktemp("conclusion")
    created_at_ms = 1_787_000_000_000
    experiment = hostile_experiment(created_at_ms)
    with Store.open(folder / "kaizen.db", create=True) as store:
        run_ingest(store, [SAMPLE / "home"], environment={})
        ids = store.read("select id from sessions where parent_session_id is null order by id")["id"].to_list()
        new_experiment(store, experiment, Plan(planned_n=100))
        for number, arm in enumerate((Classification.CONTROL, Classification.TREATMENT)):
            tag(store, experiment.id, ids[number::2], arm, now_ms=created_at_ms)
        start(store, experiment.id, now_ms=created_at_ms)
    parameters = {"experiment_id": experiment.id, "store": str(folder / "kaizen.db"), "now": NOW}
    request = RunRequest(
        report=load_report("experiment_conclusion"), parameters=parameters, out=folder / "reports", formats=FORMATS
    )
    result = Runner(clock=lambda: 1_790_812_800_000).run(request)
    assert result.exit_code == 0, result.record.error
    return result


@pytest.fixture(scope="module")
def page(conclusion: RunResult) -> str:
    return (conclusion.folder / "report.html").read_text(encoding="utf-8")


def test_the_sections_come_in_order(page: str) -> None:
    assert re.findall(r"<h2>(.*?)</h2>", page) == SECTIONS


def test_the_first_box_says_what_to_do(page: str) -> None:
    box = page[page.index('class="callout') :]
    assert page.index("</h1>") < page.index('class="callout') < page.index("<h2>")
    assert re.search(r'<p class="headline">.*?(Ship|Do not ship|Do not decide)', box)
    for word in ("Change", "Target", "95 % interval", "Rule."):
        assert word in box[: box.index("</section>")]


def test_the_page_is_one_small_file_that_loads_and_runs_nothing(page: str) -> None:
    assert len(page.encode()) <= 150_000
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    elements = Elements(page)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & elements.names
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    links = [value for name, value in elements.attributes if name in {"src", "href", "action", "xlink:href"}]
    assert all(value.startswith("data:") for value in links)


def test_hostile_text_stays_text_in_every_file(conclusion: RunResult, page: str) -> None:
    markdown = (conclusion.folder / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert not {"\x00", "\x1b", "\u202e"} & set(text)
        assert "<script" not in text.lower().replace("\\<script", "")
    assert "&lt;script&gt;alert(&quot;x&quot;)" in page
    assert "\\<script\\>" in markdown
    document = json.loads((conclusion.folder / "report.json").read_text(encoding="utf-8"))
    assert document["name"] == HOSTILE
    assert conclusion.folder.parent.name.startswith("script-alert-x-script-img-src")


def test_every_chart_has_a_name_and_its_ids_are_unique(page: str) -> None:
    names = re.findall(r'<div class="chart" role="img" aria-label="([^"]+)">', page)
    assert len(names) == len(re.findall(r"<figure>", page)) >= 3
    assert all(len(name) > 60 for name in names)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_json_holds_the_evaluation_and_the_run(conclusion: RunResult) -> None:
    document = json.loads((conclusion.folder / "report.json").read_text(encoding="utf-8"))
    assert document["run"]["run_id"] == conclusion.record.run_id
    assert {"verdict", "decision", "percent", "arms", "guardrails", "excluded", "quality"} <= set(document)
    assert conclusion.record.data_as_of_ms == document["as_of_ms"] == 1_790_812_800_000


def test_the_same_store_gives_the_same_bytes(conclusion: RunResult, tmp_path: Path) -> None:
    request = RunRequest(
        report=load_report("experiment_conclusion"),
        parameters=conclusion.record.parameters,
        out=tmp_path,
        formats=FORMATS,
    )
    again = Runner(clock=lambda: 1_790_812_800_000).run(request)
    for output in conclusion.record.outputs:
        assert (again.folder / output.path).read_bytes() == (conclusion.folder / output.path).read_bytes(), output.path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    import shutil

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        message = "needs chromium on the PATH"
        pytest.fail(message) if os.environ.get("CI_STRICT") == "1" else pytest.skip(message)
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


VIEWS = {"light": (1000, False, "screen"), "dark": (1000, True, "screen"), "phone": (390, False, "screen")}
VIEWS["print"] = (794, False, "print")


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, conclusion: RunResult, view: str, tmp_path: Path) -> None:
    width, dark, media = VIEWS[view]
    browser.requests.clear()
    browser.complaints.clear()
    path = conclusion.folder / "report.html"
    browser.open(path, width=width, dark=dark, media=media)
    assert browser.requests == [path.as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(LOW_CONTRAST) == []
    assert browser.evaluate(CLIPPED) == []
    folder = Path(os.environ.get("KAIZEN_SCREENSHOTS", tmp_path))
    browser.screenshot(folder / f"conclusion-{view}.png")
    assert (folder / f"conclusion-{view}.png").stat().st_size > 20_000


@pytest.mark.system
def test_the_printed_pages_hold_every_section_and_clip_no_word(conclusion: RunResult, need_tool) -> None:
    path = conclusion.folder / "report.pdf"
    command = [need_tool("pdftotext"), "-bbox", str(path), "-"]
    words = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    text = " ".join(html.unescape(word) for word in re.findall(r"<word[^>]*>(.*?)</word>", words))
    places = [text.find(section) for section in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)
    for page in words.split("<page ")[1:]:
        width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)"', page)[:2])
        assert (round(width), round(height)) == (595, 842)
        for left, top, right, bottom in re.findall(
            r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">', page
        ):
            assert 0 <= float(left) <= float(right) <= width
            assert 0 <= float(top) <= float(bottom) <= height


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

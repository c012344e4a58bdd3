"""The page of a report in a real browser: it asks nothing of the network, is never too wide, and can be read."""

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium, requests, resize, scheme
from report_runs import NAMES, odd_run, write_findings

from analysis.__main__ import main

SECTIONS = (
    "Summary", "Contents", "Accuracy, controls and baselines", "What was learned", "Before and after",
    "Which ops help which classes: a prediction", "Influence of the training images",
    "The most harmful training images", "Moments: how many draws the augmentations need",
    "Landscape: how flat the minimum is, and how noisy the gradients",
    "Exchange rate: how many real images an augmentation is worth",
    "Class effects: which classes gain and which pay", "Provenance",
)  # fmt: skip

CONTRAST = """
const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const color = parse(getComputedStyle(one).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
let seen = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement, words = walker.currentNode.textContent.trim();
  if (!words || ['STYLE', 'TITLE'].includes(element.tagName) || !element.getClientRects().length) continue;
  const style = getComputedStyle(element), svg = element.closest('svg');
  const ink = svg ? parse(style.fill) : parse(style.color);
  if (svg && getComputedStyle(svg).color !== style.fill) continue;  // numbers on colored cells: tested in Python
  const [high, low] = [light(ink), light(behind(svg || element))].sort((a, b) => b - a);
  seen += 1;
  if ((high + 0.05) / (low + 0.05) < 4.5) found.push([words, ink, behind(element)]);
}
return [seen, found];
"""

WIDE = """
return [...document.querySelectorAll('body *')].filter(
  one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1 &&
    !one.closest('.scroll, pre, .skip, details:not([open])')
).map(one => one.tagName + '.' + one.className + ' ' + one.textContent.slice(0, 60));
"""

UNNAMED = """
const named = one => one.getAttribute('aria-label') || document.getElementById(one.getAttribute('aria-labelledby'));
const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
return {
  pictures: [...document.querySelectorAll('img')].filter(one => !(one.alt || '').trim()).length,
  drawings: [...document.querySelectorAll('svg')].filter(one => !named(one) || one.role !== 'img').length,
  sections: [...document.querySelectorAll('section, nav, [role=region]')].filter(one => !named(one)).length,
  scrolling: [...document.querySelectorAll('.scroll, pre')].filter(one => one.tabIndex !== 0).length,
  heads: [...document.querySelectorAll('th')].filter(one => !['col', 'row'].includes(one.scope)).length,
  tables: [...document.querySelectorAll('table')].filter(one => !one.caption || !one.caption.textContent.trim()).length,
  uneven: [...document.querySelectorAll('table')].filter(
    one => new Set([...one.rows].map(row => row.cells.length)).size !== 1).length,
  twice: ids.length - new Set(ids).size,
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def page(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with every section, from a run whose class names are markup; made only where there is a browser."""
    run = odd_run(tmp_path_factory.mktemp("odd"))
    write_findings(run)
    main(["report", str(run), "--device=cpu", "--images=40"])
    return (run / "report.html").as_uri()


@pytest.fixture
def opened(browser: Any, page: str) -> Any:
    resize(browser, 1280)
    scheme(browser, "light")
    browser.get("about:blank")
    requests(browser), browser.get_log("browser")  # forget what was before
    browser.get(page)
    return browser


@pytest.mark.slow
def test_every_section_is_shown_with_something_in_it(opened: Any) -> None:
    shown = opened.execute_script(
        "return [...document.querySelectorAll('main section, nav')].map(one => "
        "[one.querySelector('h1, h2, h3').innerText, one.innerText.length, one.getBoundingClientRect().height])"
    )
    assert [title for title, _, _ in shown] == list(SECTIONS)
    for title, words, height in shown:
        assert words > len(title) + 20, title
        assert height > 60, title
    drawn = opened.execute_script(
        "return [...document.querySelectorAll('img, svg')].map(one => [one.getBoundingClientRect().width, "
        "one.tagName === 'IMG' ? one.naturalWidth : one.querySelectorAll('path, use').length])"
    )
    assert len(drawn) > 15
    assert all(width > 20 and inside > 3 for width, inside in drawn)


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(opened: Any, page: str) -> None:
    asked = [address for address in requests(opened) if not address.startswith(("data:", "about:"))]
    assert asked == [page]
    assert opened.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert opened.get_log("browser") == []


def test_names_of_classes_are_words_and_run_nothing(opened: Any) -> None:
    assert opened.title == "What the run digits learned"
    assert opened.execute_script("return document.scripts.length") == 0
    words = opened.execute_script("return document.body.textContent")
    for name in NAMES:
        assert name in words
    in_drawings = opened.execute_script("return [...document.querySelectorAll('svg')].map(one => one.textContent) + ''")
    for name in NAMES:  # a drawing leaves out the middle of a long name, the tables show it whole
        assert name[:12] in in_drawings
        assert name[-12:] in in_drawings


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_no_page_is_wider_than_its_screen(opened: Any, width: int) -> None:
    resize(opened, width)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    assert opened.execute_script(WIDE) == []
    for one in opened.find_elements("css selector", "details"):
        opened.execute_script("arguments[0].open = true", one)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


def test_text_of_a_phone_is_large_enough(opened: Any) -> None:
    resize(opened, 360)
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('svg')].map(one => "
        "9 * one.getBoundingClientRect().width / one.viewBox.baseVal.width)"
    )
    assert len(sizes) >= 4
    assert min(sizes) >= 9  # CSS pixels of the text at 9 points


def test_headings_are_in_order(opened: Any) -> None:
    levels = opened.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_a_screen_reader_has_names_for_all(opened: Any) -> None:
    assert opened.execute_script("return document.documentElement.lang") == "en"
    assert set(opened.execute_script(UNNAMED).values()) == {0}, opened.execute_script(UNNAMED)
    for landmark in ("header", "nav", "main", "footer"):
        assert len(opened.find_elements("css selector", f"body > {landmark}, main > {landmark}")) == 1, landmark


def test_the_first_stop_of_the_keyboard_skips_to_the_report(opened: Any) -> None:
    from selenium.webdriver import Keys

    opened.find_element("css selector", "body").send_keys(Keys.TAB)
    assert opened.execute_script("return document.activeElement.className") == "skip"
    assert opened.execute_script("return document.activeElement.getBoundingClientRect().left") >= 0
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    assert opened.execute_script("return document.activeElement.id") == "main"


@pytest.mark.parametrize(("colors", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_all_text_stands_out_from_what_is_behind_it(opened: Any, colors: str, media: str) -> None:
    scheme(opened, colors, media)
    for one in opened.find_elements("css selector", "details"):
        opened.execute_script("arguments[0].open = true", one)
    seen, found = opened.execute_script(CONTRAST)
    assert seen > 300
    assert found == []
    background = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(253, 253, 252)", "dark": "rgb(21, 24, 28)"}[colors] or media == "print"
    assert media == "screen" or background == "rgb(255, 255, 255)"


def test_it_prints(opened: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.print_page_options import PrintOptions

    options = PrintOptions()
    options.background = False
    pdf = base64.b64decode(opened.print_page(options))
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 3 or pdf.count(b"/Type/Page") >= 3
    scheme(opened, "light", "print")
    hidden = opened.execute_script(
        "return ['nav', '.skip'].map(name => getComputedStyle(document.querySelector(name)).display)"
    )
    assert hidden == ["none", "none"]

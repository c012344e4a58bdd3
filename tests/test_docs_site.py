"""The documentation site: it builds without a warning, and loads nothing from elsewhere."""

import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="needs the extra docs: pip install -e '.[docs]'")

from mkdocs.exceptions import PluginError

import augfluence
from docs.hooks import listing, section, table

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev"}  # of links


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ruff sets the signatures
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PATH": path}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


class Assets(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        values = dict(attrs)
        if tag in LOADED and not (tag == "link" and values.get("rel") in NOT_LOADED):
            self.found.append(values.get(LOADED[tag]) or "")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        found = Assets(page).found
        assert len(found) >= 5, page
        assert [url for url in found if re.match(r"(https?:)?//", url)] == [], page
        assert 'class="mermaid"' not in page.read_text()  # its program would come from elsewhere


def test_styles_load_nothing_from_elsewhere(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert len(styles) >= 3
    for style in styles:
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", style.read_text()), style


def test_assets_from_elsewhere_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<link rel="canonical" href="https://a.b"><link rel="stylesheet" href="//c.d/e.css"><img src="f">')
    assert Assets(page).found == ["//c.d/e.css", "f"]


def test_measured_tables_and_their_pictures_are_part_of_the_site(site: Path) -> None:
    results = [path for room in ("benchmarks", "studies") for path in (ROOT / room / "results").iterdir()]
    for path in results:
        place = site / path.parent.relative_to(ROOT)
        assert (place / path.stem / "index.html" if path.suffix == ".md" else place / path.name).is_file()
    assert 'href="../benchmarks/results/ihvp/"' in (site / "influence" / "index.html").read_text()


def test_the_first_page_has_the_table_of_the_readme(site: Path) -> None:
    assert "<td>control: identity Hessian</td>" in (site / "index.html").read_text()
    assert "<!-- README" not in (site / "index.html").read_text() + (site / "controls" / "index.html").read_text()


def test_a_program_of_the_repository_is_shown_whole(site: Path) -> None:
    shown = html.unescape(re.sub(r"<[^>]+>", "", (site / "own_module" / "index.html").read_text()))
    assert (ROOT / "examples" / "own_lightning_module.py").read_text().strip() in shown


@pytest.mark.parametrize("room", ["augnet", "influence", "lightning_modules", "analysis"])
def test_every_public_name_is_in_the_reference(room: str, site: Path) -> None:
    modules: dict[str, list[Any]] = {
        "augnet": ["augnet", "augnet.baselines", "augnet.ops", "augnet.export"],
        "influence": ["influence", "influence.attribution"],
        "lightning_modules": [
            "lightning_modules.callbacks",
            "lightning_modules.data",
            "lightning_modules.classifier.models",
        ],
        "analysis": ["analysis.moments"],
    }
    text = (site / "api" / room / "index.html").read_text() + (site / "configuration" / "index.html").read_text()
    for module in modules[room]:
        for name in __import__(module, fromlist=["__all__"]).__all__:
            assert re.search(rf'id="[\w.]*\.{name}"', text), f"{module}.{name}"


def test_every_name_of_the_package_is_in_its_table() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "api" / "augfluence.md").read_text()))
    assert set(augfluence.__all__) - {"__version__"} <= named


def test_what_is_not_there_is_named() -> None:
    readme = "# x\n\n## Here\n\n| a |\n| - |\n\nsaid [so](docs/y.md)\n\n## There\n\ntext\n"
    assert section(readme, "Here") == "## Here\n\n| a |\n| - |\n\nsaid [so](y.md)\n\n"
    assert table(readme, "Here") == "| a |\n| - |\n\nsaid [so](y.md)"
    with pytest.raises(PluginError, match=r"README.md has no section 'Elsewhere'"):
        section(readme, "Elsewhere")
    with pytest.raises(PluginError, match=r"no table in the section 'There'"):
        table(readme, "There")
    with pytest.raises(PluginError, match=r"there is no file examples/other.py"):
        listing("examples/other.py")

"""Files that the pages of the mathematics and of the architecture name, and sections that the code cites, exist."""

import re
import subprocess

from docs_pages import PAGES, ROOT

PAGE = PAGES["docs/method.md"].read_text()
SECTION = r'"([^"\n]+)"'
CITED = re.compile(rf"docs/method\.md`?, ({SECTION}(?:(?:,| and) {SECTION})*)")


def test_every_file_that_the_page_names_exists() -> None:
    named = set(
        re.findall(r"`((?:augnet|influence|lightning_modules|analysis|studies|tests|benchmarks)/[\w/.]+)`", PAGE)
    )
    assert len(named) > 30
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_every_file_and_function_of_the_walk_exists() -> None:
    page = PAGES["docs/architecture.md"].read_text()
    walk = page[page.index("## One training step") : page.index("## Where to add what")]
    named = re.findall(r"`((?:learner|callbacks|lightning_modules/learner)/\w+\.py)`(?:: `(\w+)`)?", walk)
    assert len(named) > 12
    for path, function in named:
        file = ROOT / (path if path.startswith("lightning_modules") else f"lightning_modules/{path}")
        assert file.exists(), path
        assert f"def {function}" in file.read_text() or not function, (path, function)
    folders = "learner|callbacks|commands|augnet|analysis|studies|benchmarks|tests"
    listed = re.findall(rf"`((?:{folders})/[\w/]+\.(?:py|yaml))`", page)
    roots = (ROOT, ROOT / "lightning_modules")
    missing = [path for path in listed if "NAME" not in path and not any((root / path).exists() for root in roots)]
    assert not missing


def test_every_section_that_the_code_cites_exists() -> None:
    sections = set(re.findall(r"^## (.+)$", PAGE, re.M))
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = {path: (ROOT / path).read_text() for path in listed.split() if (ROOT / path).exists()}
    assert not [path for path, text in texts.items() if "METHODS" + ".md" in text]
    cited = {
        (path, section)
        for path, text in texts.items()
        for found in CITED.finditer(" ".join(text.split()))
        for section in re.findall(SECTION, found[1])
    }
    assert len(cited) > 5
    assert {(path, section) for path, section in cited if section not in sections} == set()

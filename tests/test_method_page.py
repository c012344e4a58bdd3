"""The page of the mathematics names files that exist, and has the sections that the code cites."""

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

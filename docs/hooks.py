"""Hooks of the documentation site: include sections of the README, files of the repository, and measured tables.

The pages can be read in the repository too. There their links lead to `../benchmarks/results` and `../studies/results`,
outside of the site's folder.

    <!-- README.md: Quick start -->             becomes that section of the README, with its heading
    <!-- README.md: table of Quick start -->    becomes its first table, with the paragraph below
    <!-- file: examples/NAME.py -->             becomes that file of the repository, as a block of code
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ("benchmarks/results", "studies/results")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the measured tables, their pictures and their JSON files, outside of the navigation."""
    for path in sorted(path for folder in RESULTS for path in (ROOT / folder).rglob("*")):
        if path.suffix in (".md", ".png", ".json"):
            uri = path.relative_to(ROOT).as_posix()
            added = File.generated(config, uri, abs_src_path=str(path), inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(added)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Insert what comments ask for, and point links to measured tables to their place inside the site."""
    readme = (ROOT / "README.md").read_text()
    markdown = re.sub(r"<!-- README\.md: table of (.+?) -->", lambda found: table(readme, found[1]), markdown)
    markdown = re.sub(r"<!-- file: (.+?) -->", lambda found: listing(found[1]), markdown)
    markdown = re.sub(r"<!-- README\.md: (.+?) -->", lambda found: section(readme, found[1]), markdown)
    for folder in RESULTS:
        markdown = markdown.replace(f"](../{folder}/", f"]({folder}/")
    return markdown


def section(readme: str, heading: str) -> str:
    """Return one section of the README, with links relative to the folder of the pages.

    Raises:
        PluginError: If there is no such section.
    """
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", readme, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        raise PluginError(f"README.md has no section {heading!r}: correct the name in the page that asks for it.")
    text = found[0].replace("](docs/", "](")
    for folder in RESULTS:
        text = text.replace(f"]({folder}/", f"](../{folder}/")
    return text


def table(readme: str, heading: str) -> str:
    """Return the first table of a section of the README, and the paragraph below it.

    Raises:
        PluginError: If there is no such section, or no table in it.
    """
    paragraphs = section(readme, heading).split("\n\n")
    found = [number for number, paragraph in enumerate(paragraphs) if paragraph.startswith("| ")]
    if not found:
        raise PluginError(f"README.md has no table in the section {heading!r}.")
    return "\n\n".join(paragraphs[found[0] : found[0] + 2])


def listing(path: str) -> str:
    """Return a file of the repository as a block of code.

    Raises:
        PluginError: If there is no such file.
    """
    file = ROOT / path
    if not file.is_file():
        raise PluginError(f"there is no file {path}: correct the page that shows it.")
    language = {".py": "python", ".yaml": "yaml"}[file.suffix]
    return f"```{language}\n{file.read_text()}```"

"""Packages and addresses of the wheel.

`analysis` and `configs` go below `augfluence`, so that no general name is installed.
"""

import os

from setuptools import find_namespace_packages, find_packages, setup

# Address of the repository, from which all others follow; whoever builds a release knows it. Without it, none is given.
REPOSITORY = os.environ.get("AUGFLUENCE_REPOSITORY", "").rstrip("/")
PAGES = {
    "Repository": "",
    "Documentation": "/blob/main/docs/index.md",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Issues": "/issues",
}

setup(
    project_urls={title: f"{REPOSITORY}{page}" for title, page in PAGES.items()} if REPOSITORY else {},
    packages=[
        *find_packages(include=["augfluence", "augnet*", "influence*", "lightning_modules*"]),
        *(f"augfluence.{package}" for package in find_packages(include=["analysis*"])),
        *(f"augfluence.{folder}" for folder in find_namespace_packages(include=["configs*"])),
    ],
    package_dir={"augfluence.analysis": "analysis", "augfluence.configs": "configs"},
    package_data={"": ["py.typed", "*.yaml", "*.jinja", "*.css"]},
)

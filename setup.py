"""Packages of the wheel: `analysis` and `configs` go below `augfluence`, so that no general name is installed."""

from setuptools import find_namespace_packages, find_packages, setup

setup(
    packages=[
        *find_packages(include=["augfluence", "augnet*", "influence*", "lightning_modules*"]),
        *(f"augfluence.{package}" for package in find_packages(include=["analysis*"])),
        *(f"augfluence.{folder}" for folder in find_namespace_packages(include=["configs*"])),
    ],
    package_dir={"augfluence.analysis": "analysis", "augfluence.configs": "configs"},
    package_data={"": ["py.typed", "*.yaml", "*.jinja", "*.css"]},
)

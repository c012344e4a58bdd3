"""The benchmark of the solve on a tiny case: what its tables say is held to a dense float64 matrix made here."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.ihvp import solve_tables as tables
from benchmarks.ihvp.cases import MODES, QUICK, TARGET, load
from benchmarks.ihvp.rows import measure

pytestmark = pytest.mark.slow  # whole runs and commands

ROOT = Path(__file__).parents[2]
OURS = ("auto", "cg", "kronecker_cg", "cholesky", "woodbury", "neumann", "kfac", "ekfac")
PACKAGES = {"curvlinops": "curvlinops", "pyDVL": "pydvl", "captum": "captum", "dattri": "dattri"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ihvp")
    command = [
        sys.executable,
        "-m",
        "benchmarks.ihvp",
        "--quick=true",
        f"--folder={folder / 'rows'}",
        f"--output={folder}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    (folder / "shown.txt").write_text(done.stdout)
    return folder


@pytest.fixture(scope="module")
def results(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((run / "ihvp.json").read_text())
    return loaded


def dense(folder: Path, mode: str) -> tuple[Tensor, Tensor]:
    """The damped Hessian by automatic differentiation, and the gradient, float64; from the tensors on disk alone."""
    (path,) = (folder / "rows" / "cases").glob("case-*.safetensors")
    tensors = load_file(path)
    head = tensors["head"].double()

    def loss(flat: Tensor, rows: str, labels: str) -> Tensor:
        matrix = flat.view_as(head)
        return F.cross_entropy(tensors[rows].double() @ matrix[:, :-1].T + matrix[:, -1], tensors[labels])

    flat = head.flatten().requires_grad_()
    hessian = torch.autograd.functional.hessian(lambda flat: loss(flat, "features", "labels"), flat)
    (gradient,) = torch.autograd.grad(loss(flat, "held_out", "held_out_labels"), flat)
    scale = hessian.trace() / len(hessian) if mode == "relative" else 1.0
    return hessian + 1e-2 * scale * torch.eye(len(hessian)), gradient


def rows_of(results: dict[str, Any], mode: str) -> dict[str, dict[str, Any]]:
    return {r["row"]: r for r in results["rows"] if r["mode"] == mode}


@pytest.mark.parametrize("mode", ["absolute", "relative"])
def test_residuals_are_those_of_the_dense_matrix(run: Path, results: dict[str, Any], mode: str) -> None:
    matrix, gradient = dense(run, mode)
    case = load(QUICK, run / "rows" / "cases")
    exact = torch.linalg.solve(matrix, gradient)
    for value in (exact, 0.9 * exact, torch.randn(len(exact), generator=torch.Generator().manual_seed(0)).double()):
        expected = float((matrix @ value - gradient).norm() / gradient.norm())
        found = case.residual(value.view_as(case.head), case.gradient(), case.damping(mode))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    rows = rows_of(results, mode)
    for name in ("auto", "cg", "kronecker_cg", "cholesky", "woodbury"):
        row = rows[f"augfluence {name}"]
        assert 0 <= row["residual"] <= 1.1 * TARGET
        assert row["cosine"] > 0.999
        assert row["seconds"] >= 0
    controls = [rows[f"augfluence {name}"]["residual"] for name in ("kfac", "ekfac")]
    assert min(controls) > 10 * TARGET  # not solves, and the table says so


def test_every_method_is_listed_and_missing_libraries_say_so(run: Path, results: dict[str, Any]) -> None:
    shown = (run / "shown.txt").read_text()
    for mode in ("absolute", "relative"):
        rows = rows_of(results, mode)
        assert {f"augfluence {name}" for name in OURS} < set(rows)
        for name, row in rows.items():
            assert name in shown
            package = PACKAGES.get(name.split()[0])
            if package is not None and find_spec(package) is None:
                assert row["failed"] == f"not installed: {package}"
            assert "failed" in row or row["residual"] >= 0


def test_the_loop_and_the_image_have_rows(results: dict[str, Any]) -> None:
    assert len(results["loops"]) == 2
    images = {r["row"]: r for r in results["images"]}
    assert images["torch double backward"]["difference"] < 1e-4
    assert images["augfluence"]["difference"] == 0
    if find_spec("pydvl") is None:
        assert images["pyDVL Perturbation"]["failed"] == "not installed: pydvl"


def test_markdown_has_the_same_numbers(run: Path, results: dict[str, Any]) -> None:
    text = (run / "ihvp.md").read_text()
    assert "relative residual" in text
    for row in results["rows"]:
        if "failed" not in row:
            assert f"{row['residual']:.1e}" in text


def test_an_interrupted_run_goes_on(run: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (run / "rows").glob("*.json")}
    missing = next(path for path in kept if "cholesky" in path.name)
    missing.unlink()
    spec = {"kind": "solve", "row": "augfluence cholesky", "shape": asdict(QUICK), "limit": 60.0}
    rows = [measure(spec | {"mode": mode, "round": 0}, run / "rows") for mode in MODES]  # in processes of their own
    assert missing.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path != missing)
    assert all(row["residual"] < TARGET for row in rows)


def test_a_row_that_ends_without_a_result_says_why(tmp_path: Path) -> None:
    spec = {"kind": "solve", "row": "augfluence cg", "shape": {"rows": "many"}, "mode": "absolute", "limit": 60.0}
    assert measure(spec | {"round": 0}, tmp_path)["failed"].startswith("fails: TypeError")


# Which library counts


def result(row: str, seconds: float, residual: float = 1e-3, mode: str = "relative") -> dict[str, Any]:
    shared = {"features": 128, "classes": 10, "mode": mode, "megabytes": 1.0, "cosine": 1.0, "iterations": 3}
    return shared | {"row": row, "seconds": seconds, "residual": residual, "remark": ""}


def test_only_libraries_that_reach_the_residual_by_themselves_count() -> None:
    group = [
        result(tables.AUTO, 1.0),
        result("augfluence cg", 0.1),
        result("dattri CG, hindsight", 0.2),
        result("pyDVL EKFAC", 0.3, residual=1.2),
        {"row": "pyDVL CG", "failed": "not installed: pydvl"},
        result("curvlinops CG", 12.0),
        result("curvlinops CG + KFAC", 11.0),
    ]
    assert tables.speedup(group) == pytest.approx(11)
    assert "at least 10 x is **met** (11.0 x)" in tables.goals([group])
    slower = [result(tables.AUTO, 2.0), *group[1:]]
    assert "**missed** (5.5 x)" in tables.goals([slower])
    assert tables.speedup([result(tables.AUTO, 1.0, residual=0.1), *group[1:]]) is None
    assert tables.speedup(group[:5]) is None

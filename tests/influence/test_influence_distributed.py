"""Two gloo processes with shards of different sizes against one process with all rows."""

from pathlib import Path

import torch
import torch.distributed as dist
from influence_cases import case, close
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.multiprocessing.spawn import spawn

from influence import LastLayerHessian, class_frequencies, class_gradients, loss_gradient, solve
from influence.solvers import Method
from influence.solvers.kronecker import kronecker_preconditioner

METHODS: list[Method] = ["auto", "cholesky", "cg", "kronecker_cg", "neumann", "kfac", "ekfac"]
SPLITS = (13, 24)  # rows of the first rank; the second has the other 11, then none


def results(start: int, stop: int, group: ProcessGroup | None) -> dict[str, Tensor]:
    """Everything that is summed over ranks, from some of the rows, in float32."""
    layer = case(weighted=True)
    rows = slice(start, stop)
    assert layer.weights is not None
    features, logits = layer.features[rows].float(), layer.logits[rows].float()
    targets, weights = layer.targets[rows], layer.weights[rows]
    hessian = LastLayerHessian(
        features, logits, damping=0.1, weight_decay=0.01, sample_weights=weights, process_group=group
    )
    gradient = loss_gradient(features, logits, targets, weights, process_group=group)
    found = {
        "product": hessian @ layer.head,
        "dense": hessian.dense(),
        "gradient": gradient,
        "numbers": torch.tensor([hessian.trace(), hessian.damping, hessian.num_rows]),
    }
    found["class gradients"] = class_gradients(features, logits, targets, process_group=group)
    found["class frequencies"] = class_frequencies(logits, targets, process_group=group)
    found["preconditioned"] = kronecker_preconditioner(hessian)(gradient)
    wide = case(features=300)  # so few rows that one process chooses a method that needs them all
    features, logits, targets = wide.features[rows], wide.logits[rows], wide.targets[rows]
    hessian_of_few = LastLayerHessian(features, logits, damping=1.0, process_group=group)
    gradient_of_few = loss_gradient(features, logits, targets, process_group=group)
    found["few rows"] = solve(hessian_of_few, gradient_of_few, tol=1e-8).value
    for method in METHODS:
        found[method] = solve(hessian, gradient, method, tol=1e-4, max_iterations=3000).value
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = [results(*((0, split) if rank == 0 else (split, 24)), group=dist.group.WORLD) for split in SPLITS]
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    spawn(worker, args=(str(tmp_path),), nprocs=2)
    expected = results(0, 24, None)
    assert expected["numbers"][2] == 24
    for rank in range(2):
        for found in torch.load(tmp_path / f"{rank}.pt", weights_only=True):
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                close(found[name], value, 1e-5 if name not in ("cg", "kronecker_cg", "neumann") else 1e-4)

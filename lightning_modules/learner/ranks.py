"""The ranks (processes) among which a global batch is divided in equal parts.

Every rank gathers the small tensors (features, logits, targets) and computes the same numbers from them; only the
passes through the network are divided. Random numbers are drawn for the global batch on every rank, from the same
state, and each rank takes its part: the result is that of one process with the same global batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from augnet import AugNet
from augnet.network import Draws


class Ranks:
    """The ranks of a process group; None stands for a single process."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.count = 1 if group is None else dist.get_world_size(group)
        self.index = 0 if group is None else dist.get_rank(group)

    @classmethod
    def everyone(cls, world_size: int | None = None) -> "Ranks":
        """All ranks of a training, of which there are `world_size`; by default those of torch's process group."""
        if world_size is None:
            world_size = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        return cls(dist.group.WORLD if world_size > 1 else None)

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        """The rows `[count * B, ...]` of all ranks in order, without gradient; ValueError if their numbers differ."""
        if self.group is None:
            return rows.detach()
        own = torch.tensor([len(rows)], device=rows.device)  # NCCL gathers tensors of the accelerator only
        sizes = [torch.zeros_like(own) for _ in range(self.count)]
        dist.all_gather(sizes, own, group=self.group)
        found = [int(size) for size in sizes]
        if len(set(found)) > 1:
            raise ValueError(
                f"expected batches of one size on all ranks, found {found}: leave smaller last batches out."
            )
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, rows.detach().contiguous(), group=self.group)
        return torch.cat(parts)

    def own(self, rows: Tensor) -> Tensor:
        """This rank's rows `[B, ...]` of the global batch `[count * B, ...]`."""
        return rows.chunk(self.count)[self.index]

    def own_generator(self) -> torch.Generator | None:
        """A generator with other numbers on each rank; for one process None, torch's default.

        The default generator stays in the same state on every rank.
        """
        if self.group is None:
            return None
        seed = int(torch.randint(2**62, ()))
        return torch.Generator().manual_seed(seed + self.index)

    @torch.no_grad()
    def add_up(self, *tensors: Tensor) -> None:
        """Replace each tensor by its sum over the ranks."""
        if self.group is not None:
            for tensor in tensors:
                dist.all_reduce(tensor, group=self.group)

    @torch.no_grad()
    def average(self, *tensors: Tensor) -> None:
        """Replace each tensor by its mean over the ranks."""
        if self.group is not None:
            self.add_up(*tensors)
            for tensor in tensors:
                tensor.div_(self.count)

    def join(self, rows: Tensor) -> Tensor:
        """The rows of all ranks `[count * B, ...]`, of which this rank's own carry gradient.

        A mean over the result, differentiated on every rank and summed over the ranks, has the gradient that one
        process with the global batch computes.
        """
        if self.group is None:
            return rows
        parts = list(self.gather(rows).chunk(self.count))
        parts[self.index] = rows
        return torch.cat(parts)

    def draw(self, augnet: AugNet[Any, Any], images: Tensor, generator: torch.Generator | None = None) -> Draws:
        """Draw an augmentation of this rank's images `[B, C, H, W]`, out of the draws for the global batch.

        The generator is in the same state on every rank, before and after; None is torch's default generator.
        """
        global_shape = images[:1].expand(self.count * len(images), *images.shape[1:])  # only the shape is read
        numbers, noise = augnet.draw(global_shape, generator)
        return Draws(self.own(numbers), {name: self.own(field) for name, field in noise.items()})

"""A global batch that lies in equal parts on several processes (ranks), and what is done with it together.

Every rank gathers the small things (features, labels, draws) and computes them alike, so nothing has to be sent back;
only the passes through the network are divided. Random numbers are drawn for the global batch on every rank, from the
same state, and each takes its own: the result is that of one process with the same global batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from augnet import AugNet
from augnet.network import Draws


class Ranks:
    """The ranks of a process group, or this process alone.

    Args:
        group: The process group; None for one process.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.count = 1 if group is None else dist.get_world_size(group)
        self.index = 0 if group is None else dist.get_rank(group)

    @classmethod
    def everyone(cls, world_size: int) -> "Ranks":
        """All ranks of a training, of which there are `world_size`."""
        return cls(dist.group.WORLD if world_size > 1 else None)

    @torch.no_grad()
    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks `[count * B, ...]` in the order of the ranks; without gradient.

        Raises:
            ValueError: If the ranks have different numbers of rows.
        """
        if self.group is None:
            return rows.detach()
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.count)]
        dist.all_gather(sizes, torch.tensor([len(rows)]), group=self.group)
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

    def whole(self, images: Tensor) -> Tensor:
        """A stand-in for the global batch `[count * B, C, H, W]`, of which only the shape means anything."""
        return images[:1].expand(self.count * len(images), *images.shape[1:])


def draw(augnet: AugNet[Any, Any], images: Tensor, ranks: Ranks, generator: torch.Generator | None = None) -> Draws:
    """What an augmentation of this rank's images `[B, C, H, W]` draws, out of what the global batch draws.

    Args:
        augnet: The policy and its space.
        images: This rank's part of the batch.
        ranks: Who has the other parts.
        generator: In the same state on every rank, and so afterwards; `None` is torch's default generator.
    """
    numbers, noise = augnet.draw(ranks.whole(images), generator)
    return Draws(ranks.own(numbers), {name: ranks.own(field) for name, field in noise.items()})

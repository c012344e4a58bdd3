"""Facts about a trainer and its module that Lightning has no name for."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.signature_utils import is_param_in_hook_signature
from torch import nn

if TYPE_CHECKING:
    from lightning_modules.data.influence_data_module import InfluenceDataModule

_SHARDED = ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")
_TPU = ("XLAStrategy", "SingleDeviceXLAStrategy")
_HOME = "lightning_modules.data.influence_data_module"


def influence_data(trainer: pl.Trainer) -> "InfluenceDataModule | None":
    """Return the data module of a trainer if it is an `InfluenceDataModule`, else None.

    Nothing can be one as long as its module is not loaded, and loading it takes seconds.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    own = _HOME in sys.modules and isinstance(data, sys.modules[_HOME].InfluenceDataModule)
    return data if own else None


def measures_batch_statistics(trainer: pl.Trainer) -> bool:
    """Return True if steps leave the classifier as it is: in the pass in which SWA measures its batch statistics."""
    return bool(getattr(trainer.fit_loop, "_skip_backward", False))


def check_loop(trainer: pl.Trainer, module: pl.LightningModule, learns: bool) -> None:
    """Raise ValueError if batches of a loop cannot be augmented, or nothing be learned in it; warn of lost results."""
    if is_param_in_hook_signature(module.training_step, "dataloader_iter", explicit=True):
        raise ValueError(
            "training_step(self, dataloader_iter) reads its batches itself, where they cannot be augmented: write it "
            "as training_step(self, batch, batch_idx)."
        )
    kinds, launchers = (
        {kind.__name__ for kind in type(part).__mro__} for part in (trainer.strategy, trainer.strategy.launcher)
    )
    if learns and kinds.intersection(_SHARDED + _TPU):
        reason = "shards the classifier, whose last layer" if kinds.intersection(_SHARDED) else "compiles steps that"
        raise ValueError(
            f"trainer.strategy {type(trainer.strategy).__name__} {reason} the policy cannot be learned from: take "
            "auto, or ddp on several devices."
        )
    if learns and "_MultiProcessingLauncher" in launchers:
        rank_zero_warn(
            "this strategy trains in other processes, and the callback here keeps the policy that it has: read the "
            "learned one from the file policy_path."
        )


@contextmanager
def naming_loaders(trainer: pl.Trainer) -> Iterator[None]:
    """Say in a ValueError about a batch that the training has several loaders, if it has."""
    try:
        yield
    except ValueError as error:
        if isinstance(trainer.train_dataloader, Mapping | list | tuple):
            raise ValueError(f"the training has several loaders; the policy needs one of images: {error}") from error
        raise


def part_of(module: pl.LightningModule, name: str | None) -> nn.Module:
    """The part of a module that is called so, ValueError if there is none; the module itself for None."""
    found = module if name is None else getattr(module, name, None)
    if not isinstance(found, nn.Module):
        parts = ", ".join(child for child, _ in module.named_children())
        raise ValueError(f"classifier: {type(module).__name__} has no module {name!r}; it has {parts}.")
    return found

"""The trainer of the command line: Lightning's, with the commands `retrain`, `attribute` and `adapt`."""

from pathlib import Path

import pytorch_lightning as pl

from influence.k_priors import Selection
from lightning_modules.adaptation.adaptation_summary import AdaptationSummary
from lightning_modules.adaptation.adapted_classifier import AdaptationSettings, adapt_classifier
from lightning_modules.adaptation.change import Change
from lightning_modules.adaptation.points import Method
from lightning_modules.attribution.score_table import AttributionTable
from lightning_modules.attribution.scoring import attribute_images
from lightning_modules.attribution.written_scores import write_attribution
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.checkpoint import load_checkpoint
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.learner.checks import require_at_least
from lightning_modules.monitoring.run_files import next_free_folder, require_writable


class AugfluenceTrainer(pl.Trainer):
    """Lightning's trainer, which also scores training images and adapts classifiers. Arguments: as `pl.Trainer`.

    The command line takes the options of each command from the signature and the docstring of its method.
    """

    def retrain(
        self,
        model: AugmentedClassifier,
        datamodule: InfluenceDataModule,
        policy_file: str | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train a new classifier with the frozen policy of a run, on all labelled images.

        The influence set, which was held out while the policy was learned, trains too.

        Args:
            model: A new classifier with the policy, see `AugmentedClassifier.policy_file`.
            datamodule: Its data, with `influence_source` train.
            policy_file: The learned policy; by default `policy.json` beside the `--config` of the run.
            ckpt_path: Checkpoint of an interrupted retraining, to resume it.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.
        """
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only)

    def attribute(
        self,
        model: Classifier,
        datamodule: InfluenceDataModule,
        ckpt_path: str | Path | None = None,
        folder: str | Path | None = None,
        top: int = 32,
        views: int = 8,
        mirror: bool = True,
        weights_only: bool | None = None,
    ) -> AttributionTable:
        """Find the training images that harm, that help, and that are probably mislabelled.

        Writes `attribution.csv` (every training image) and the contact sheets `harmful.png`, `helpful.png` and
        `mislabelled.png`. Runs on one device.

        Args:
            model: The classifier.
            datamodule: The data it was trained with.
            ckpt_path: Checkpoint of the trained classifier; by default its current weights are used.
            folder: Folder of the files; by default the folder `attribution` of the run of the checkpoint.
            top: Images on each contact sheet, at least 1.
            views: Shifted copies of each image for the mislabel score, >= 0. More copies find more wrong labels if the
                network has memorized its training images; each costs one pass over them.
            mirror: Mirror half of these copies; false for digits, text and other images whose class depends on it.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.

        Returns:
            The scores.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If the checkpoint does not fit the model or the data, an argument is out of range, or there
                is more than one device.
        """
        require_at_least(1, top=top)
        self._require_one_device("attribute")
        datamodule.setup("attribute")
        run = Path(self.default_root_dir) if ckpt_path is None else Path(ckpt_path).parent.parent
        target = run / "attribution" if folder is None else Path(folder)
        require_writable(target, "folder")
        if ckpt_path is not None:
            load_checkpoint(model, datamodule.num_classes, Path(ckpt_path), weights_only)
        self.precision_plugin.convert_module(model.to(self.strategy.root_device))
        show = self.progress_bar_callback is not None
        table = attribute_images(model, datamodule, views, mirror, self.precision_plugin, show)
        write_attribution(table, target, top)
        return table

    def adapt(
        self,
        model: Classifier,
        datamodule: InfluenceDataModule,
        ckpt_path: str | Path,
        change: Change,
        method: Method = "k_prior",
        memory: float = 0.1,
        selection: Selection = "weighted",
        lr: float | None = None,
        folder: str | Path | None = None,
        test: bool = True,
        weights_only: bool | None = None,
    ) -> AdaptationSummary:
        """Adapt a trained classifier to other data, another weight decay, policy or network, from a small memory.

        Writes `checkpoints/last.ckpt` and `summary.json`. Trains for `max_epochs` passes over the memory and the new
        images, with the optimizer of the model. Runs on one device.

        Args:
            model: The classifier, as it was trained.
            datamodule: The data it was trained with.
            ckpt_path: Its checkpoint.
            change: Changes to the data and the classifier.
            method: `k_prior`, or a method to compare it with: `replay`, `fine_tune`, `retrain`.
            memory: Share of the past training images to remember, in (0, 1].
            selection: `weighted` (drawn at random, with importance weights), `random`, or `top` (those of which the
                old model is least certain).
            lr: Highest learning rate; by default that of the model. The rest of the optimizer is that of the model.
            folder: Folder of the files; by default the folder `adapted` (or `adapted-2`, ...) of the run of the
                checkpoint.
            test: Evaluate on the test split once, after adapting.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.

        Returns:
            Accuracies, time and number of images.

        Raises:
            FileNotFoundError: If there is no such checkpoint or file.
            ValueError: If no change is given, the checkpoint does not fit the model or the data, an argument is out of
                range, or there is more than one device.
        """
        settings = AdaptationSettings(method, memory, selection, lr)
        self._require_one_device("adapt")
        change.check()
        wanted = Path(ckpt_path).parent.parent / "adapted" if folder is None else Path(folder)
        require_writable(wanted, "folder")
        datamodule.setup("adapt")
        datamodule.check_one_label("adapt")
        checkpoint = load_checkpoint(model, datamodule.num_classes, Path(ckpt_path), weights_only)
        before = self.validate(model, datamodule=datamodule, verbose=False)[0]["val/acc"]
        student, images, seconds = adapt_classifier(self, model, datamodule, checkpoint, change, settings)
        after = self.validate(student, datamodule=datamodule, verbose=False)[0]["val/acc"]
        tested = self.test(student, datamodule=datamodule, verbose=False)[0]["test/acc"] if test else None
        target = next_free_folder(wanted)
        self.save_checkpoint(target / "checkpoints" / "last.ckpt")
        changed, seconds = change.given(), round(seconds, 2)
        summary = AdaptationSummary(changed, method, memory, selection, images, before, after, tested, seconds)
        summary.save(target)
        return summary

    def _require_one_device(self, command: str) -> None:
        """Raise ValueError if the trainer has several devices."""
        if self.world_size > 1:
            raise ValueError(f"{command} runs on one device, found {self.world_size}: set trainer.devices to 1.")

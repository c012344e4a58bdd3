"""The trainer of this project: Lightning's, `retrain`, `attribute` and `adapt`."""

from pathlib import Path

import pytorch_lightning as pl
from rich.console import Console

from influence.k_priors import Selection
from lightning_modules.adaptation.adapting import Change, Recall, adapt_classifier
from lightning_modules.adaptation.points import Method
from lightning_modules.adaptation.summary import AdaptationSummary
from lightning_modules.attribution.files import print_attribution, write_attribution
from lightning_modules.attribution.score_table import AttributionTable
from lightning_modules.attribution.scoring import Precision, Views, attribute_images
from lightning_modules.classifier.augmented_classifier import AugmentedClassifier
from lightning_modules.classifier.checkpoint import load_checkpoint
from lightning_modules.classifier.classifier import Classifier
from lightning_modules.data import InfluenceDataModule
from lightning_modules.monitoring.summary import next_free_folder


class AugfluenceTrainer(pl.Trainer):
    """Lightning's trainer, which also scores training images and adapts classifiers. Arguments: as `pl.Trainer`."""

    def retrain(
        self,
        model: AugmentedClassifier,
        datamodule: InfluenceDataModule,
        policy_file: str | None = None,
        ckpt_path: str | Path | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train a fresh classifier behind the frozen policy of a run, on all labelled images.

        The influence set, which was held out while the policy was learned, trains too.

        Args:
            model: A fresh classifier with the policy, see `AugmentedClassifier.policy_file`.
            datamodule: Its data, with `influence_set` train.
            policy_file: The learned policy; by default `policy.json` beside the `--config` of the run.
            ckpt_path: Checkpoint of an interrupted retraining to go on from.
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
            ckpt_path: Checkpoint of the trained classifier; by default the weights it has now.
            folder: Where the files go; by default the folder `attribution` of the run that the checkpoint is from.
            top: Images on each contact sheet, at least 1.
            views: Shifted copies of each image that the mislabel score also looks at. More find more wrong labels
                where the network has memorised its training images; each costs one pass over them. 0 for none.
            mirror: Whether half of these copies are mirrored: false for digits, text and all where left is not right.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.

        Returns:
            The scores.

        Raises:
            FileNotFoundError: If there is no such checkpoint.
            ValueError: If the checkpoint does not fit the model or the data, an argument is out of range, or there
                is more than one device.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}.")
        wanted = Views(views, mirror)
        if self.world_size > 1:
            raise ValueError(f"attribute runs on one device, found {self.world_size}: set trainer.devices to 1.")
        datamodule.setup("attribute")
        run = Path(self.default_root_dir)
        if ckpt_path is not None:
            run = Path(ckpt_path).parent.parent
            load_checkpoint(model, datamodule.num_classes, Path(ckpt_path), weights_only)
        plugin = self.precision_plugin
        plugin.convert_module(model.to(self.strategy.root_device))
        precision = Precision(plugin.convert_input, plugin.forward_context)
        table = attribute_images(model, datamodule, wanted, precision, self.progress_bar_callback is not None)
        files = write_attribution(table, run / "attribution" if folder is None else Path(folder), top)
        print_attribution(table, top)
        for file in files:
            Console().print(f"Written: {file}", soft_wrap=True)
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

        Writes `checkpoints/last.ckpt` and `summary.json`. Trains for `max_epochs` passes over the memory and what is
        new, with the optimiser of the model. Runs on one device.

        Args:
            model: The classifier, as it was trained.
            datamodule: The data it was trained with.
            ckpt_path: Its checkpoint.
            change: What shall be different.
            method: `k_prior`, or what it is compared with: `replay`, `fine_tune`, `retrain`.
            memory: Share of the past training images to remember, in (0, 1].
            selection: `weighted` (drawn at random, each standing for its share of the past), `random`, or `top` (those
                that the old model is least certain of).
            lr: Highest learning rate; by default that of the model. The rest of the optimiser is the model's.
            folder: Where the files go; by default the folder `adapted` (or `adapted-2`, ...) of the run that the
                checkpoint is from.
            test: Read the test split once, after adapting.
            weights_only: As in `fit`; set it to false only for checkpoints that you trust.

        Returns:
            Accuracies, time and number of images.

        Raises:
            FileNotFoundError: If there is no such checkpoint or file.
            ValueError: If nothing is to change, the checkpoint does not fit the model or the data, an argument is out
                of range, or there is more than one device.
        """
        if self.world_size > 1:
            raise ValueError(f"adapt runs on one device, found {self.world_size}: set trainer.devices to 1.")
        recall = Recall(method, memory, selection, lr)
        change.check()
        datamodule.setup("adapt")
        checkpoint = load_checkpoint(model, datamodule.num_classes, Path(ckpt_path), weights_only)
        before = self.validate(model, datamodule=datamodule, verbose=False)[0]["val/acc"]
        adapted = adapt_classifier(self, model, datamodule, checkpoint, change, recall)
        after = self.validate(adapted.student, datamodule=datamodule, verbose=False)[0]["val/acc"]
        tested = self.test(adapted.student, datamodule=datamodule, verbose=False)[0]["test/acc"] if test else None
        target = next_free_folder(Path(ckpt_path).parent.parent / "adapted" if folder is None else Path(folder))
        self.save_checkpoint(target / "checkpoints" / "last.ckpt")
        summary = AdaptationSummary.of(adapted, change, recall, before, after, tested)
        summary.write(target / "summary.json")
        summary.show(target)
        return summary

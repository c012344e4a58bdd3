"""The command `train.py retrain`: the configuration of a run, changed to train with its frozen policy on all images."""

from pathlib import Path

from jsonargparse import Namespace

_WITHOUT_INFLUENCE = ("plain", "uniform")  # controls that need no influence set


def retrain_from(config: Namespace) -> None:
    """Change the configuration of a run in place.

    The policy is frozen, the influence images join the training images, the files go to the folder `retrained` of the
    run, and controls that need an influence set are left out of the comparison.

    Raises:
        FileNotFoundError: If there is no policy.
        ValueError: If the run cannot be identified, or learned no policy.
    """
    run = _run_folder(config)
    found = run and run / "policy.json"
    policy = config.pop("policy_file") or found  # not in the saved configuration: `test` reads it
    if policy is None:
        raise ValueError("retrain needs a learned policy: give --config runs/NAME/config.yaml, or --policy_file.")
    if not Path(policy).is_file():
        raise FileNotFoundError(f"retrain: there is no policy {policy}; a run writes it after every epoch.")
    if config.model.control == "plain":
        raise ValueError("retrain: this run learned no policy (control plain); there is nothing to train behind.")
    config.model.policy_file, config.model.control = str(policy), "none"
    config.data.init_args.influence_source = "train"
    config.model.samples.weights = config.model.samples.soft_labels = False
    config.run.compare = [control for control in config.run.compare if control in _WITHOUT_INFLUENCE]
    if run is not None:
        config.run.folder, config.run.name = str(run), "retrained"


def _run_folder(config: Namespace) -> Path | None:
    """Return the folder of the first configuration file that lies beside a policy."""
    for path in config.get("config") or []:
        folder = Path(str(path)).resolve().parent
        if (folder / "policy.json").is_file():
            return folder
    return None

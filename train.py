"""Train a classifier and its augmentation policy: `python train.py fit --config configs/digits.yaml`."""

from lightning_modules.cli import main

if __name__ == "__main__":
    main()

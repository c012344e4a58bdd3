"""Train a classifier and its augmentation policy: `python train.py fit --config configs/digits.yaml`."""

from augfluence.__main__ import main

if __name__ == "__main__":
    main()

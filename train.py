"""Train a classifier and its augmentation policy: `python train.py fit --config configs/digits.yaml`."""

import signal

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback while the libraries load
    from lightning_modules.commands.cli import main

    main()

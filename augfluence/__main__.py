"""The command line of training: `augfluence fit --config FILE`, or `python -m augfluence fit --config FILE`."""

import signal


def main() -> None:
    """Run the command that the arguments of the process name."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load ends it without a traceback
    from lightning_modules.commands.cli import main as run

    run()


if __name__ == "__main__":
    main()

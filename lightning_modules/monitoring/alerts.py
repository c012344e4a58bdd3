"""Announcements of guard events: on the terminal and, for runs that are logged to W&B, as alerts."""

from collections.abc import Sequence

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn


@rank_zero_only
def announce(event: str | None, gave_up: bool, loggers: Sequence[Logger]) -> None:
    """Warn, and send an alert to every W&B run, which forwards it to Slack or e-mail as configured there.

    An alert that cannot be sent gives a warning; the run continues.

    Args:
        event: The event and its cause, a sentence; None sends nothing.
        gave_up: True if the policy is not learned any further.
        loggers: Loggers of the run.
    """
    if event is None:
        return
    rank_zero_warn(event)
    title = "Policy learning has ended" if gave_up else "Policy rolled back"
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        try:  # by default W&B drops alerts of one title within a minute
            logger.experiment.alert(title=title, text=event, level="ERROR" if gave_up else "WARN", wait_duration=0)
        except Exception as error:
            rank_zero_warn(f"The alert could not be sent to W&B ({type(error).__name__}: {error}).")

"""Training: the only room that knows Lightning, W&B and the command line."""

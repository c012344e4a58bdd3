"""Analyses of finished runs: read checkpoints, policies and data; write numbers and pictures. Nothing is trained."""

PROGRAM = f"python -m {__name__}"  # the command line, whatever name the package is installed under

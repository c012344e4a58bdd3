"""Analyses of finished runs and of the results of studies: numbers, pictures and a report. No network is trained."""

PROGRAM = f"python -m {__name__}"  # the command line, whatever name the package is installed under

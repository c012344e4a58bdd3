"""The command line: fit, retrain, attribute, adapt and Lightning's own commands."""

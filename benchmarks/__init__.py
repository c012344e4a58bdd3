"""Cost and accuracy, each one command that prints a table and writes JSON."""

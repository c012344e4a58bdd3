"""The command line of the analyses: one file a command, each with the typed, documented function that it runs."""

"""Reads checkpoints, policies and datasets, writes numbers and pictures."""

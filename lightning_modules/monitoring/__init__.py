"""Metric keys, files, plots, summaries, dashboards and alerts of a run."""

"""The report on finished runs: one self-contained HTML page."""

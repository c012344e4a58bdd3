"""Scores of training images: harmful, helpful, probably mislabelled."""

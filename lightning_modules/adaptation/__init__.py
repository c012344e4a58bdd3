"""Adaptation of a trained classifier without retraining (K-priors)."""

"""Learns an augmentation policy in anybody's training loop: torch, augnet and influence, no Lightning."""

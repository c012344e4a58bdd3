"""Moments of augmented images, of what a network makes of them, and of the loss."""

"""Time and memory that learning the augmentation adds to a training step, beside other libraries."""

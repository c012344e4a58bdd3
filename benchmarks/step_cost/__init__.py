"""What learning the augmentation adds to a training step, in time and memory, beside what people train with today."""

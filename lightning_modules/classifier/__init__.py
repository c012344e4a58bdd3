"""The classifier that the command line trains: networks, optimization, augmentation."""

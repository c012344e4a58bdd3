"""Studies: train arms x tasks x seeds and compare them. One YAML file a study, one engine for all of them."""

"""Does a learned policy earn its place? Arms x tasks x seeds from one YAML file, compared in pairs."""

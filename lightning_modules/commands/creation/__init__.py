"""What `create` writes: sizes and settings chosen from the facts of a folder, its description, YAML with comments."""

"""Images per second of augmentation on a CPU: this project and its peers, same batch, one run, one table."""

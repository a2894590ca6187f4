"""HTTP in, vectors out: the serving half of the embedding cluster."""

"""Documents in, searchable vectors out: the ingestion half of the embedding cluster."""

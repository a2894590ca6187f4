"""What one GPU gives: to the bare engine, through HTTP, through an ingestion, and to vLLM's own API server."""

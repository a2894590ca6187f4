"""The cluster as ingestion sees it: by deployment handle inside Ray, by HTTP from anywhere else."""

"""What has been ingested, by whom it is being written right now, and what could not be: the job's memory."""

"""A cluster that runs, or is about to: start it, deploy to it, follow its configuration, say how it is."""

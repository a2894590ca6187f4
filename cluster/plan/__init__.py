"""`hardware` → what runs on it: replicas, their sizes, and why. Pure: nothing here looks at a machine."""

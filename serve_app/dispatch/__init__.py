"""From token ids to vectors: cache, admission, slices, and the hop to a replica."""

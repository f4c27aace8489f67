"""A table larger than memory: packed once on disk as records, read in shuffled blocks."""

"""Heads: from the vectors of encoders to the vectors that are compared, one file each."""

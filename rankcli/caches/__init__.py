"""TFRecord caches: listed, verified, repaired, pruned."""

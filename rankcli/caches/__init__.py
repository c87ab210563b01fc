"""Maintenance of TFRecord caches: list, verify, repair and prune them."""

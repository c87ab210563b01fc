"""Measurements that `scripts/bench NAME` runs; each prints one JSON document."""

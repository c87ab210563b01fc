"""Metrics by trec_eval's own code, significance tests, interpolation with the first stage, and reports."""

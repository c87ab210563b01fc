"""Rerankers: a batch to scores."""

"""Rerankers: models that turn a batch into scores."""

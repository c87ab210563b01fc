"""Tokenizers, stemming and pretrained weights on disk."""

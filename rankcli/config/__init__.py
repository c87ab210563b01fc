"""Strict YAML, validation, registries and identities."""

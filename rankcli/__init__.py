"""Train, evaluate and ship neural rerankers from one YAML file."""

__version__ = "0.1.0"

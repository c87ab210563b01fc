"""Collections, queries, judgments, runs and folds."""

"""First stages: each makes a run."""

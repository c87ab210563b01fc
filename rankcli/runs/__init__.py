"""Run directories: what a run is made of, where it lies, what it leaves."""

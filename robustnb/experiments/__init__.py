"""Experiments: one file per paper, each of its tables a function that yields rows."""

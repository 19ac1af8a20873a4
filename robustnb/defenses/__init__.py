"""Defences: one idea a file."""

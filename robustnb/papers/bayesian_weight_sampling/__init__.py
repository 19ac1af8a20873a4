"""Bayesian weight sampling (Zhang & Chen 2020)."""

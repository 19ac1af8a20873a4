"""Noise optimization (Xiao, Zhang & Peng 2021)."""

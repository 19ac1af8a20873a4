"""Noise optimization: noise whose level each neuron learns (Xiao, Zhang & Peng 2021)."""

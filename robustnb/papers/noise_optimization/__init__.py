"""Xiao, Zhang & Peng (2021): noise whose level each neuron learns."""

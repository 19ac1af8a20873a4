"""Zhang & Chen (2020): Bayesian weight sampling against transferred attacks."""

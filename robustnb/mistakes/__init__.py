"""Nine mistakes in judging a network, each beside its correction on the same small network."""

"""Judge any network: strong attacks, the worst case, and signs that the numbers mislead."""

"""Attacks: each is a frozen dataclass, called with a model, images and labels."""

"""Batch adjusted network gradients, BANG (Rozsa, Günther & Boult 2016)."""

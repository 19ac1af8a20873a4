"""BANG: batch adjusted network gradients (Rozsa, Günther & Boult 2016)."""

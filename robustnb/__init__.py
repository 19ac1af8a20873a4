"""robustnb: an interactive book on the robustness of neural networks, and the package behind it."""

"""The device that computes, found in one place."""

import os

import torch


def device() -> torch.device:
    """Return the device that ROBUSTNB_DEVICE names, such as "cuda", or else the CPU."""
    return torch.device(os.environ.get("ROBUSTNB_DEVICE") or "cpu")

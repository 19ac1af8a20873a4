"""Robustness of networks whose neurons compete (Kaspar, Hicheur & Bourdrez 2024)."""

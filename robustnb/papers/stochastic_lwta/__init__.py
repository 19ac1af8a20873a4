"""Stochastic LWTA: local winner-takes-all (Kaspar, Hicheur & Bourdrez 2024)."""

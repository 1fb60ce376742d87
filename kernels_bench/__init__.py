"""Kernel measurements. Nothing is measured here yet."""

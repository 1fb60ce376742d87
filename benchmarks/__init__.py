"""Measures what the other parts do, and writes the figures down."""

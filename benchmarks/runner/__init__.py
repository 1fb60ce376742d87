"""Runs a suite, holds it against its bounds, and writes records and a page."""

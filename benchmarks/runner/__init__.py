"""Runs a suite, checks its bounds, and writes its records and a page."""

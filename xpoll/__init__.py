"""Unlabelled text in, a small classifier out that says how far it can be trusted."""

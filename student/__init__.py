"""Voted labels to a small classifier: what is trained on, how good it is, and how it labels files."""

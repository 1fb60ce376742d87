"""Prompts in, completions out. Knows no persona, label or student."""

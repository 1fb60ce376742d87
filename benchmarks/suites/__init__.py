"""One suite a NAME.py and NAME.toml, found by name."""

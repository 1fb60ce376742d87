"""Gates: what a text must pass to be kept, one file each; registry.py has the table."""

"""What can answer prompts: one module or folder each, and the table of them in registry.py."""

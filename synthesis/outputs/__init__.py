"""Forms that kept texts are written out in, one file each; registry.py has the table."""

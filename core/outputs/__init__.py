"""Forms that texts and their labels are written out in, one file each; registry.py has the table."""

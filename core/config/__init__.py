"""The job file: sections, keys and their rules; job.py has the whole, file.py reads it."""

"""Energy from a machine's counters: one file per source, and windows around the code that is measured.

counters.py defines a counter; sources.py is the table of sources; window.py measures a block of code.
No figure is estimated: where nothing can be read, the reason takes its place.
"""

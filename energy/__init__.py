"""Energy from the counters that a machine has: one file a source, windows around what is measured.

counters.py says what a counter is; sources.py is the table of sources; window.py measures a block.
No figure is ever made up: where nothing can be read, the reason is given in its place.
"""

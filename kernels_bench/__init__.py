"""How fast a device runs the operators that language models are made of, against its measured ceilings.

shapes.py has the layers of the served models; cases.py, attention.py and memory.py the operators; arms.py and timing.py
time one way to compute one; ipex.py has IPEX's timed in their own environment; ceilings.py says what the device could
do at best; run.py makes the records.
"""

"""Benchmarks of the operators of language models on one device, against its measured ceilings.

shapes.py has the layers of served models; cases.py, attention.py and memory.py define the operators; selection.py
selects the cases of a run; arms.py and timing.py time one implementation of a case; ipex.py times IPEX's in their
own environment; ceilings.py measures the device's peaks; run.py makes the records.
"""

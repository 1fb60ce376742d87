"""Discovers GPUs and cores of a machine or a cluster, and pins an engine to one."""

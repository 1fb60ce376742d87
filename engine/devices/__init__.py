"""GPUs and cores of a machine or a cluster, and how an engine is pinned to one."""

"""vLLM: inside the worker, or as a server of its own behind it."""

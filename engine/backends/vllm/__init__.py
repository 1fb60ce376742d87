"""vLLM: inside the worker, or as a server in a subprocess of it."""

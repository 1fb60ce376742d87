"""OpenVINO GenAI's continuous batching inside the worker: processors and Intel GPUs by one string, from PyPI."""

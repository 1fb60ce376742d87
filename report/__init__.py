"""A run folder to metrics.json, one HTML page, Markdown, and two runs side by side."""

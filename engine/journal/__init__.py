"""The engine's files in a run folder: answers, settled documents, sessions, load over time."""

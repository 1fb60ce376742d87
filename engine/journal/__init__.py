"""What is on disk of a run: answers, who is settled, sessions, load over time."""

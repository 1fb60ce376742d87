"""Answers to labels: read an answer, stop early, count votes, compare methods, have people check."""

"""What xpoll doctor looks at."""

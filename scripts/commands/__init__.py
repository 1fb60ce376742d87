"""One command of xpoll a file."""

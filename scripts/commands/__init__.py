"""One command of xpoll per file: `add_arguments` says what it takes, `call` runs it."""

"""Jobs with their texts, as files; `xpoll examples` copies one into the current folder."""

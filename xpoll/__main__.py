"""`python -m xpoll`: the command line, as the command `xpoll` starts it."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, whose files may be called like packages that are imported later
    from xpoll.scripts.cli import main

    raise SystemExit(main())

"""What a user would pick instead of xpoll, each a folder: found by name, run in an environment of its own.

    NAME/peer.toml          what it is, the package whose version counts, and its arms
    NAME/run.py             does the job of a folder (common/peer_job.py), without xpoll; xpoll's own arms apart
    NAME/requirements.txt   complete pinned set of its environment; without it, it runs in xpoll's own

To add a peer: one such folder.
"""

"""`xpoll poll`: asks the panel about every document."""

import argparse

from xpoll.scripts.arguments import add_address, add_job
from xpoll.scripts.commands.run import run_step


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, and where it runs."""
    add_job(command)
    add_address(command)


def call(parsed: argparse.Namespace) -> int:
    """Runs the step; what is answered already is not asked again."""
    return run_step("poll", parsed)

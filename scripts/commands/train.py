"""`xpoll train`: fine-tunes the student on the labels."""

import argparse

from xpoll.scripts.arguments import add_job
from xpoll.scripts.commands.run import run_step


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job."""
    add_job(command)


def call(parsed: argparse.Namespace) -> int:
    """Runs the step, done already or not."""
    return run_step("train", parsed)

"""`xpoll run`: every step that is not done, then the figures; and what each step's own command does."""

import argparse
import json

from xpoll.core.progress import say
from xpoll.scripts.arguments import add_address, add_job, load_job


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, and where it runs."""
    add_job(command)
    add_address(command)


def call(parsed: argparse.Namespace) -> int:
    """Runs what is left to do and prints metrics.json, in words or as it is."""
    from xpoll.pipeline.run import whole_path
    from xpoll.scripts.commands.status import show_metrics

    folder, done = whole_path(load_job(parsed))
    if not done:
        say(f"nothing left to do in {folder.path}")
    return show_metrics(folder, as_json=parsed.json)


def run_step(name: str, parsed: argparse.Namespace) -> int:
    """Runs one step of a job and says what it wrote."""
    from xpoll.pipeline.run import one_step

    outputs = [str(path) for path in one_step(name, load_job(parsed))]
    print(json.dumps({"step": name, "outputs": outputs}) if parsed.json else f"{name}: wrote {', '.join(outputs)}")
    return 0

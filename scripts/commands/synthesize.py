"""`xpoll synthesize`: personas write texts; what passes the gates is kept, and written in the forms wanted."""

import argparse
import json

from xpoll.scripts.arguments import add_address, add_job, load_job
from xpoll.scripts.outputs import add_outputs, outputs_as_json, wanted_outputs


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, where it runs, and a file or folder for each form of output."""
    add_job(command)
    add_address(command)
    add_outputs(command, "also write")


def call(parsed: argparse.Namespace) -> int:
    """Writes what is left to write, prints what the gates took out, and writes the outputs."""
    from xpoll.core.progress import say
    from xpoll.pipeline.synthesize import synthesize, write_kept_texts
    from xpoll.synthesis.wording import synthesis_lines

    config = load_job(parsed)
    found = synthesize(config)
    if not found.is_new:
        say(f"nothing left to write in {found.folder.path}")
    written = write_kept_texts(config, found, wanted_outputs(parsed))
    if parsed.json:
        texts = str(found.folder.synthesized)
        told = {**found.figures.as_json(), "texts": texts, "outputs": outputs_as_json(written)}
        print(json.dumps(told, default=str))
        return 0
    for line in (*synthesis_lines(found.figures), f"texts: {found.folder.synthesized}"):
        print(line)
    for each in written.values():
        print(each.line)
    return 0

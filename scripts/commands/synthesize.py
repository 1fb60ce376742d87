"""`xpoll synthesize`: personas write texts; what passes the gates is kept, and written in the forms wanted."""

import argparse
import json
from pathlib import Path

from xpoll.scripts.arguments import add_address, add_job, load_job
from xpoll.synthesis.outputs.registry import OUTPUTS


def add_arguments(command: argparse.ArgumentParser) -> None:
    """A job, where it runs, and a file or folder for each form of output."""
    add_job(command)
    add_address(command)
    for name, output in OUTPUTS.items():
        command.add_argument(f"--{name}", type=Path, metavar=output.metavar, help=f"also write {output.about}")


def call(parsed: argparse.Namespace) -> int:
    """Writes what is left to write, prints what the gates took out, and writes the outputs."""
    from xpoll.core.progress import say
    from xpoll.pipeline.synthesize import synthesize, write_outputs
    from xpoll.synthesis.wording import synthesis_lines

    wanted = {name: path for name in OUTPUTS if (path := getattr(parsed, name)) is not None}
    config = load_job(parsed)
    found = synthesize(config)
    if not found.is_new:
        say(f"nothing left to write in {found.folder.path}")
    written = write_outputs(config, found, wanted)
    if parsed.json:
        outputs = {name: each._asdict() for name, each in written.items()}
        texts = str(found.folder.synthesized)
        print(json.dumps({**found.figures.as_json(), "texts": texts, "outputs": outputs}, default=str))
        return 0
    for line in (*synthesis_lines(found.figures), f"texts: {found.folder.synthesized}"):
        print(line)
    for each in written.values():
        print(each.line)
    return 0

"""`xpoll examples`: lists the jobs that come with xpoll, or copies one into the current folder."""

import argparse
import json
from pathlib import Path

from xpoll.pipeline.draft import copy_example, example_folders
from xpoll.scripts.tables import show_list


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Which one."""
    command.add_argument("name", nargs="?", help="example to copy to examples/NAME; without it they are listed")
    command.add_argument("--force", action="store_true", help="overwrite files that are there")


def call(parsed: argparse.Namespace) -> int:
    """Lists, or copies and says what to type next."""
    if parsed.name is None:
        found = [(name, _title(folder)) for name, folder in example_folders().items()]
        if parsed.json:
            print(json.dumps([{"name": name, "about": about} for name, about in found]))
        else:
            show_list(found)
        return 0
    written = copy_example(parsed.name, Path("examples") / parsed.name, force=parsed.force)
    if parsed.json:
        print(json.dumps({"written": [str(path) for path in written]}))
        return 0
    print(f"examples: wrote {len(written)} files to examples/{parsed.name}")
    job = Path("examples") / parsed.name / "job.toml"
    if job in written:
        print(f"type: xpoll run {job}")
    return 0


def _title(folder: Path) -> str:
    """The first sentence of its README."""
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines[1:] if line.strip()), lines[0].lstrip("# "))

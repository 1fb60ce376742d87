"""The forms of core/outputs as options of a command, and what was written as its lines."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpoll.core.outputs.output import WrittenOutput
from xpoll.core.outputs.registry import OUTPUTS


def add_outputs(command: argparse.ArgumentParser, what: str) -> None:
    """An option for each form, which takes its file or folder.

    Args:
        command: The command.
        what: What its help begins with, e.g. "also write".
    """
    for name, output in OUTPUTS.items():
        command.add_argument(f"--{name}", type=Path, metavar=output.metavar, help=f"{what} {output.about}")


def wanted_outputs(parsed: argparse.Namespace) -> dict[str, Path]:
    """Name of each form that was asked for, to its file or folder."""
    return {name: path for name in OUTPUTS if (path := getattr(parsed, name)) is not None}


def outputs_as_json(written: Mapping[str, WrittenOutput]) -> dict[str, Any]:
    """What was written, for --json."""
    return {name: each._asdict() for name, each in written.items()}

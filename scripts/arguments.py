"""What several commands take. Imports nothing of the commands themselves, so that help comes at once."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from xpoll.core.config.job import Config

JOB = "job TOML, or an existing run folder"


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        print(f"xpoll: {message} -> {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def add_job(command: argparse.ArgumentParser) -> None:
    """JOB and --set, as every command that works on a run takes them; `load_job` reads them."""
    command.add_argument("job", type=Path, help=JOB)
    add_set(command, "SECTION.KEY=VALUE", "override a config key")


def add_address(command: argparse.ArgumentParser) -> None:
    """--address, for commands that start engines."""
    command.add_argument("--address", help="run on the Ray cluster at this address (engine.address)")


def add_set(command: argparse.ArgumentParser, form: str, text: str) -> None:
    """--set, which may be given several times."""
    command.add_argument("--set", action="append", default=[], metavar=form, help=text)


def add_common(command: argparse.ArgumentParser) -> None:
    """--json and --quiet, which every command has."""
    command.add_argument("--json", action="store_true", help="print machine-readable results")
    command.add_argument("--quiet", action="store_true", help="show no progress; results and errors alone")


def add_text_column(command: argparse.ArgumentParser) -> None:
    """--text-column, for commands that take a file of texts."""
    command.add_argument("--text-column", default="text", help="column that holds the text (default: text)")


def load_job(parsed: argparse.Namespace) -> "Config":
    """The config that JOB, --set and --address say.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, or a value breaks a rule.
    """
    from xpoll.core.config.file import load_config

    address = getattr(parsed, "address", None)
    return load_config(parsed.job, [*parsed.set, *([f"engine.address={address}"] if address else [])])

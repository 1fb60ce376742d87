"""The tutorial, typed as it stands: what each of its commands prints. As a program it prints that, to paste from.

python -m tests.support.tutorial FOLDER     # an empty folder; some minutes, with `xpoll` on the PATH
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs/tutorial/own-texts.md"
JOB = "caretaker.toml"
LEFT_OUT = "..."
"""A line of a shown output that stands for any number of lines."""
_BLOCK = re.compile(r"^```(bash|toml|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """A command of the tutorial, the file that the reader writes before it, and the output that the page shows."""

    command: str
    job: str | None
    shown: str | None


def steps() -> Iterator[Step]:
    """The steps of the page, in order."""
    found = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    job: str | None = None
    for number, (language, text) in enumerate(found):
        if language == "toml":
            job = text
        if language == "bash":
            following = found[number + 1] if number + 1 < len(found) else ("", "")
            yield Step(text.strip(), job, following[1] if following[0] == "text" else None)
            job = None


def is_as_shown(said: str, shown: str, *, with_figures: bool = True) -> bool:
    """Whether an output is the one that the page shows, but for lines that it leaves out and an empty one before it.

    Without figures numbers are not compared, nor the spaces between columns: times and rates are those of a machine.
    """
    said = said.removeprefix("\n")
    if not with_figures:
        said, shown = _without_figures(said), _without_figures(shown)
    parts = re.split(rf"^{re.escape(LEFT_OUT)}\n", shown, flags=re.MULTILINE)
    return re.fullmatch(r"(?:.*\n)*".join(map(re.escape, parts)), said) is not None


def _without_figures(text: str) -> str:
    """The words of each line. A line that stands for others stays."""
    text = re.sub(r" s \(about \d.*?\)", " s", text)  # a time of two minutes and more
    lines = (line if line == LEFT_OUT else re.sub(r"[\s\d.,]+", " ", line).strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Runs all of it in a folder."""
    folder = Path(sys.argv[1])
    for step in steps():
        if step.job is not None:
            (folder / JOB).write_text(step.job, encoding="utf-8")
        done = subprocess.run(["bash", "-c", step.command], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        sys.stdout.write(f"$ {step.command}\n{done.stdout}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

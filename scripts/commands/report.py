"""`xpoll report`: metrics.json and report.html, Markdown, or two runs side by side."""

import argparse
import json
from pathlib import Path

from xpoll.core.config.file import load_config
from xpoll.core.formatting import noise, number, p_value, percent
from xpoll.core.run_folder import RunFolder
from xpoll.report.compare_runs import RunComparison, compare_runs
from xpoll.report.markdown import write_markdown
from xpoll.scripts.arguments import add_job, load_job
from xpoll.scripts.commands.run import run_step
from xpoll.scripts.tables import show_table


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Adds the job, another run to compare with, and --markdown."""
    add_job(command)
    command.add_argument("other", type=Path, nargs="?", help="another run, to see the two side by side")
    command.add_argument("--markdown", action="store_true", help="write report.md, too")


def call(parsed: argparse.Namespace) -> int:
    """Writes the report of a run, or prints two runs side by side."""
    if parsed.other is not None:
        return show_run_comparison(parsed.job, parsed.other, as_json=parsed.json)
    code = run_step("report", parsed)
    if parsed.markdown:
        print(f"report: wrote {write_markdown(RunFolder(Path(load_job(parsed).job.run_folder)))}")
    return code


def show_run_comparison(first: Path, second: Path, *, as_json: bool) -> int:
    """Prints two runs side by side."""
    comparison = compare_runs(*map(_folder, (first, second)))
    if as_json:
        paired = comparison.paired._asdict() if comparison.paired else None
        figures = {name: [a, b] for name, a, b in comparison.figures}
        print(json.dumps({"figures": figures, "paired": paired, "agreement": comparison.agreement}))
    else:
        _print(comparison, str(first), str(second))
    return 0


def _folder(job: Path) -> RunFolder:
    return RunFolder(job if (job / "config.resolved.json").exists() else Path(load_config(job).job.run_folder))


def _print(comparison: RunComparison, first: str, second: str) -> None:
    rows = [(name, number(a), number(b)) for name, a, b in comparison.figures if a is not None or b is not None]
    print(f"A = {first}, B = {second}")
    show_table(("", "A", "B"), rows, (38, 15, 15))
    if comparison.agreement is None:
        print("the runs have no document in common")
    else:
        print(f"labels that agree: {percent(comparison.agreement)} of the documents in both")
    if paired := comparison.paired:
        right = f"A has {paired.first_right} and B {paired.second_right} of {paired.rows} gold rows right"
        print(f"teachers: {right}; {p_value(paired.p_value)}, {noise(paired.within_noise)}")

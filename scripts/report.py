"""What `xpoll report` does beside the step: Markdown, and two runs side by side."""

import argparse
import json
from pathlib import Path

from benchmarks.markdown import write_markdown
from benchmarks.run_comparison import RunComparison, compare_runs
from core.config_file import load_config
from core.run_folder import RunFolder
from scripts.run import one_step


def report(parsed: argparse.Namespace) -> int:
    """Writes the report of a run, or prints two runs side by side."""
    if parsed.other is not None:
        return show_run_comparison(parsed.job, parsed.other, as_json=parsed.json)
    config = load_config(parsed.job, parsed.set)
    code = one_step("report", config, parsed.json)
    if parsed.markdown:
        print(f"report: wrote {write_markdown(RunFolder(Path(config.job.run_folder)))}")
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
    print(f"{'':38} {'A':>14} {'B':>14}   A = {first}, B = {second}")
    for name, a, b in comparison.figures:
        if a is not None or b is not None:
            print(f"{name:38} {_figure(a):>14} {_figure(b):>14}")
    if comparison.agreement is None:
        print("the runs have no document in common")
    else:
        print(f"labels that agree: {100 * comparison.agreement:.1f} % of the documents in both")
    if paired := comparison.paired:
        noise = "within noise" if paired.p_value >= 0.05 else "more than noise"
        right = f"A has {paired.first_right} and B {paired.second_right} of {paired.rows} gold rows right"
        print(f"teachers: {right}; p = {paired.p_value:.2g}, {noise}")


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.5g}"

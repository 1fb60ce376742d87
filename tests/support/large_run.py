"""A run of many labels and personas by the simulated backend, voted and scored, without a student."""

import csv
from pathlib import Path

import pytest

from tests.support.in_process import answer_in_process
from xpoll.core.config.file import load_config
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.run import one_step, report_of


def large_run(folder: Path, *, labels: int = 77, personas: int = 40, texts: int = 60, gold: int = 100) -> RunFolder:
    """Polls, votes, scores the teacher and writes the report; the first label is hostile to pages and spreadsheets."""
    names = ["=<b>1+1</b>", *(f"label_{i:02}_of_a_long_name" for i in range(1, labels))]
    for name, rows in (("texts", texts), ("gold", gold)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "label"])
            table.writerows([f"{name} {i}: a customer's sentence", names[i % labels]] for i in range(rows))
    people = []
    for i in range(personas):
        (folder / f"person_{i:02}.toml").write_text(f'field = "x"\npersona = "a reader of the kind number {i}"\n')
        people.append(f"person_{i:02}.toml")
    (folder / "job.toml").write_text(
        f"""
[job]
run_folder = "{folder / "run"}"
[documents]
path = "{folder / "texts.csv"}"
gold_path = "{folder / "gold.csv"}"
[task]
labels = {names}
[panel]
personas = {[str(folder / each) for each in people]}
[engine]
backend = "simulated"
device = "cpu"
[engine.simulated]
time_scale = 0
"""
    )
    config = load_config(folder / "job.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xpoll.engine.run.answer_prompts", answer_in_process)
        for step in ("poll", "vote"):
            one_step(step, config)
    return report_of(config)

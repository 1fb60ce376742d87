"""Folders and files of the user's that are called like rooms of xpoll, or like packages, are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.simulated_job import write_simulated_job
from tests.support.tiny import make_tiny_bert

PACKAGES = (
    *("core", "engine", "personas", "student", "scripts", "benchmarks", "votes", "report", "pipeline", "energy"),
    *("kernels_bench", "experiments", "tests"),
)
MODULES = ("vllm", "datasets", "tokenizers", "ray", "torch", "numpy", "pydantic")
TRAP = "raise RuntimeError(f'the user\\'s {__name__} was imported in place of a package')\n"
COMMANDS = {
    "console script": (str(Path(sys.executable).with_name("xpoll")),),
    "module": (sys.executable, "-m", "xpoll"),
    "module with -P": (sys.executable, "-P", "-m", "xpoll"),
}
START_S = 240


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder in which every import that goes to the current folder raises."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(TRAP)
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(TRAP)
    return tmp_path


def call(command: tuple[str, ...], *arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, which must be a good one."""
    done = subprocess.run([*command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 0, done.stderr
    return done


def example_job(folder: Path) -> Path:
    """The example on its recorded answers, in 24 texts, with a student of random weights."""
    made = (ROOT / "examples/investor_sentiment/job.toml").read_text(encoding="utf-8")
    made = made.replace("examples/investor_sentiment", f"{ROOT}/examples/investor_sentiment")
    made = made.replace('backend = "vllm"', 'backend = "replay"')
    made = made.replace("all-minilm-l6-v2", str(make_tiny_bert(folder / "encoder")))
    made = made.replace('id_column = "id"', 'id_column = "id"\nlimit = 24').replace("epochs = 5", "epochs = 1")
    job = folder / "job.toml"
    job.write_text(made, encoding="utf-8")
    return job


def test_the_traps_are_what_an_interpreter_in_that_folder_would_import(trapped: Path) -> None:
    for name in (*PACKAGES, *MODULES):
        done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=trapped, capture_output=True, text=True)
        assert f"the user's {name} was imported" in done.stderr


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_reads_its_arguments(trapped: Path, command: tuple[str, ...]) -> None:
    assert "COMMAND" in call(command, "--help", cwd=trapped).stdout


@pytest.mark.engine
def test_a_run_on_recorded_answers_and_its_student_s_predictions(trapped: Path) -> None:
    call(COMMANDS["console script"], "run", example_job(trapped), cwd=trapped)
    texts = ROOT / "examples/investor_sentiment/documents.csv"
    call(COMMANDS["module"], "predict", "runs/investor_sentiment", texts, "labelled.csv", cwd=trapped)
    assert len((trapped / "labelled.csv").read_text(encoding="utf-8").splitlines()) > 100


@pytest.mark.engine
def test_a_run_on_the_simulated_engine(trapped: Path) -> None:
    job = write_simulated_job(trapped, documents=40, max_in_flight=64, time_scale=0.05)
    encoder = make_tiny_bert(trapped / "encoder")
    with job.open("a") as file:
        file.write(f'\n[student]\nencoder = "{encoder}"\nepochs = 1\nmin_steps = 0\n')
    call(COMMANDS["module"], "run", job, cwd=trapped)
    assert (trapped / "run/report.html").is_file()


@pytest.mark.engine
def test_a_batch_file(trapped: Path) -> None:
    message = '{"role": "user", "content": "Good or bad?"}'
    body = f'{{"model": "smollm2-135m-instruct", "messages": [{message}], "max_tokens": 4}}'
    request = f'{{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {body}}}'
    (trapped / "in.jsonl").write_text(f"{request}\n")
    simulated = ("--set", "engine.backend=simulated", "--set", "engine.device=cpu")
    call(COMMANDS["console script"], "batch", "in.jsonl", "out.jsonl", *simulated, cwd=trapped)
    assert '"status_code": 200' in (trapped / "out.jsonl").read_text()

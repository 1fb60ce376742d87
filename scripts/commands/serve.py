"""`xpoll serve`: a student, a job's panel with its engines, or both as a cascade, behind one address until Ctrl-C."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from xpoll.core.config.file import apply_overrides, checked_config, load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.serving.serve import Ready, Where, serve_cascade, serve_generator, serve_panel, serve_student
from xpoll.scripts.arguments import add_set, load_job
from xpoll.scripts.commands.predict import RUNTIMES
from xpoll.student.folder import generative_folder


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What is served, what stands behind it, and where to listen."""
    what = "run or student folder: its student is served, a language model by engines; or a job TOML: its panel is"
    command.add_argument("job", type=Path, metavar="RUN|STUDENT|JOB", help=what)
    command.add_argument(
        "--panel", action="store_true", help="of a run folder, serve the panel in place of the student"
    )
    cascade = "put what the student is unsure of to the panel of this run (default: the run that is served)"
    command.add_argument("--cascade", nargs="?", type=Path, const=Path(), metavar="RUN", help=cascade)
    target = "with --cascade: accuracy the student is to reach alone, 0 to 1 (default: 0.9)"
    command.add_argument("--target", type=float, default=0.9, help=target)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8000, help="port to listen on, 0 for a free one (default: 8000)")
    command.add_argument("--name", help="name of the model in requests (default: the job's name)")
    command.add_argument("--runtime", default="pytorch", choices=RUNTIMES, help="what computes the student")
    command.add_argument("--device", help="where the student computes, as PyTorch or OpenVINO calls it")
    add_set(command, "SECTION.KEY=VALUE", "of the panel's job: override a config key")


def call(parsed: argparse.Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM; requests that have begun are answered."""
    where = Where(parsed.host, parsed.port, parsed.name, parsed.runtime, parsed.device)
    stdout = sys.stdout  # while engines start, print goes to the log

    def tell(ready: Ready) -> None:
        print(json.dumps(as_json(ready)) if parsed.json else in_words(ready), file=stdout, flush=True)

    try:
        if parsed.cascade is not None:
            run = parsed.job if parsed.cascade == Path() else parsed.cascade
            serve_cascade(parsed.job, load_config(run, parsed.set), parsed.target, where, tell)
        elif generative := generative_folder(parsed.job):
            serve_generator(generative, _config_of_generator(parsed.job, parsed.set), where, tell)
        elif parsed.job.is_dir() and not parsed.panel:
            _check_no_set(parsed)
            serve_student(parsed.job, where, tell)
        else:
            serve_panel(load_job(parsed), where, tell)
    except KeyboardInterrupt:
        pass
    print("xpoll: served until now; every process is ended", file=sys.stderr)
    return 0


def _config_of_generator(path: Path, overrides: list[str]) -> Config:
    """That of the run that a language model lies in; of a model's folder alone, one with nothing but defaults."""
    run = next((each for each in (path, path.resolve().parent) if RunFolder(each).config.exists()), None)
    if run is not None:
        return load_config(run, overrides)
    raw: dict[str, Any] = {"documents": {"path": str(path)}, "student": {"kind": "causal-lm"}}
    apply_overrides(raw, [f'job.name="{_name_of(path)}"', *overrides])
    return checked_config(Config, raw, mend="edit --set")


def _name_of(path: Path) -> str:
    """The folder's name, as a job may have it."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", path.resolve().name)


def _check_no_set(parsed: argparse.Namespace) -> None:
    if parsed.set:
        raise ConfigError("--set: a student has no keys to override", mend="--panel serves the run's panel")


def as_json(ready: Ready) -> dict[str, object]:
    """For --json: `model` is what chat requests name where an engine is behind the address."""
    chosen = ready.threshold
    return {
        "address": ready.address,
        "model": ready.engine or ready.decisions,
        "decisions": ready.decisions,
        "labels": list(ready.labels),
        "devices": list(ready.devices),
        "counting": ready.counting,
        "gold": chosen._asdict() if chosen else None,
    }


def in_words(ready: Ready) -> str:
    """What is served, and a request to try."""
    what = " and ".join(filter(None, (ready.decisions, ready.engine)))
    lines = [f"serving {what} at {ready.address} (Ctrl-C ends it)"]
    if ready.counting:
        lines.append(f"the panel's votes: {ready.counting}")
    if chosen := ready.threshold:
        sure = f"from a confidence of {chosen.threshold:.3f}" if chosen.sure_accuracy is not None else "nothing alone"
        lines.append(
            f"the student answers {sure}; the panel answered {100 * chosen.panel_share:.1f} % of the gold rows"
        )
    body: dict[str, object]
    path, body = "chat/completions", {"model": ready.engine, "messages": [{"role": "user", "content": "Hello"}]}
    if ready.decisions:
        choices = [{"value": label} for label in ready.labels]
        question = {"type": "choice", "instructions": "Which label fits?", "choices": choices}
        path, body = "decisions", {"model": ready.decisions, "input": "Hello", "questions": [question]}
    header = "-H 'Content-Type: application/json'"
    lines.append(f"curl {ready.address}/{path} {header} -d '{json.dumps(body)}'")
    return "\n".join(lines)

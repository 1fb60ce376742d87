"""`xpoll batch`: a batch file in, an output file out."""

import argparse
import json
from pathlib import Path
from typing import Any

from xpoll.core.config.file import apply_overrides, checked_config
from xpoll.core.errors import ConfigError, InputError
from xpoll.core.log import log_to
from xpoll.core.progress import Waiting, say
from xpoll.engine.backends.registry import check_backend, devices_for, spec_of
from xpoll.engine.batch.run import BatchConfig, Summary, answer_batch, finished, open_batch, write_output
from xpoll.engine.batch.survey import Survey, survey_requests
from xpoll.pipeline.prepare import prepare_model
from xpoll.scripts.arguments import add_set


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Input and output, -i and -o as `vllm run-batch` names them."""
    command.add_argument("input", nargs="?", help="batch file of OpenAI's form, JSONL")
    command.add_argument("output", nargs="?", help="file to write, JSONL")
    command.add_argument("-i", "--input-file", help="INPUT under the name that vllm run-batch has for it")
    command.add_argument("-o", "--output-file", help="OUTPUT under the name that vllm run-batch has for it")
    command.add_argument("--model", help="model that answers; without it the one that the lines name")
    command.add_argument("--run-folder", type=Path, help="folder of answers on their way (default: OUTPUT.run)")
    add_set(command, "engine.KEY=VALUE", "set an engine key")


def call(parsed: argparse.Namespace) -> int:
    """Answers a batch file; the exit code is 0 if lines ended as errors, too."""
    source, output = _named(parsed, "input"), _named(parsed, "output")
    with Waiting(f"reading {source}"):
        survey = survey_requests(source)
    config = _config(parsed, source, output, survey)
    check_backend(config.engine)
    if "label" not in spec_of(config.engine.backend).answers:
        raise ConfigError(f"engine.backend = {config.engine.backend!r} writes no answers", mend="engine.backend=vllm")
    if not config.engine.address:
        devices_for(config.engine)  # a machine that has too few says so before a folder is made
    prepare_model(config.engine)
    folder = open_batch(config, parsed.run_folder or Path(f"{output}.run"), survey)
    log_to(folder.log)
    summary = finished(config, folder)
    if summary is not None:
        say(f"nothing left to do in {folder.path}")
    else:
        answer_batch(config, folder, survey)
        summary = write_output(config, folder, survey)
    return _show(summary, folder.path, output, as_json=parsed.json)


def _named(parsed: argparse.Namespace, name: str) -> str:
    positional, option = getattr(parsed, name), getattr(parsed, f"{name}_file")
    if (positional is None) == (option is None):
        raise InputError(f"batch needs one {name} file", mend="xpoll batch INPUT.jsonl OUTPUT.jsonl")
    return str(positional or option)


def _config(parsed: argparse.Namespace, source: str, output: str, survey: Survey) -> BatchConfig:
    engine: dict[str, Any] = {"model": parsed.model} if parsed.model else {}
    raw: dict[str, Any] = {"input": _absolute(source), "output": _absolute(output), "engine": engine}
    apply_overrides(raw, parsed.set)
    if "model" not in engine:
        engine["model"] = _model_of(survey)
    return checked_config(BatchConfig, raw, mend="use --set engine.key=value")


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).absolute())


def _model_of(survey: Survey) -> str:
    if len(survey.models) == 1:
        return survey.models[0]
    what = f"name different models, e.g. {' and '.join(survey.models)}" if survey.models else "name no model"
    raise ConfigError(f"input: its lines {what}", mend="say which one answers: --model MODEL")


def _show(summary: Summary, folder: Path, output: str, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({**summary._asdict(), "output": output, "run_folder": str(folder)}))
    else:
        print(f"batch: wrote {summary.lines} lines to {output}: {summary.answered} answered, {summary.errors} errors")
    return 0

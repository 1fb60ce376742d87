"""`xpoll batch`: a batch file in, an output file out."""

import argparse
import json
from pathlib import Path
from typing import Any

from core.config_file import apply_overrides, checked_config
from core.errors import ConfigError, InputError
from core.progress import Waiting, say
from engine.backends import check_backend
from engine.batch.run import BatchConfig, Summary, answer_batch, finished, open_batch, write_output
from engine.batch.survey import Survey, survey_requests
from engine.devices import find_devices
from scripts.planning import prepare_model
from scripts.run import log_to


def run_batch(parsed: argparse.Namespace) -> int:
    """Answers a batch file; the exit code is 0 if lines ended as errors, too."""
    source, output = _named(parsed, "input"), _named(parsed, "output")
    with Waiting(f"reading {source}"):
        survey = survey_requests(source)
    config = _config(parsed, source, output, survey)
    check_backend(config.engine)
    find_devices(config.engine.device, config.engine.replicas, hierarchy=config.engine.device_hierarchy)
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

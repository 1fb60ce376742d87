"""`xpoll`: one command a step. Figures go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 `doctor` warns or a check of `bench` does not hold, 2 a mistake the user can mend
(one line says what, why and what to type), 130 stopped by Ctrl-C or SIGTERM (the same command goes on
from there).
"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from core.config import Config
from core.config_file import load_config
from core.errors import ConfigError, UserError
from core.progress import say
from core.run_folder import RunFolder, open_run_folder
from scripts import batch, pipeline
from scripts.compare import compare_documents
from scripts.export import add_export_arguments, export, student_folder
from scripts.exporter import serve_metrics
from scripts.kernels import show_kernels
from scripts.measure import measured
from scripts.panel import show_panel
from scripts.report import show_markdown, show_run_comparison
from scripts.review import add_review_commands, review
from scripts.show import show_doctor, show_metrics, show_plan, show_status, show_suite, show_suites
from scripts.show_votes import show_comparison

RUNTIMES = ["pytorch", "openvino", "openvino-int8-weights", "openvino-int8"]

HELP = {
    "run": "the whole path: poll, vote, train, evaluate, report; goes on where it stopped",
    "plan": "what poll would do; starts nothing, writes nothing",
    "panel": "who would be asked, and how much they differ; starts no engine, writes nothing",
    "poll": "ask the panel about every document",
    "vote": "count the answers into labels",
    "review": "let people check a sample of the labels, and bound how many others are wrong",
    "train": "fine-tune the student on the labels",
    "evaluate": "score teacher and student on the gold rows",
    "predict": "label a file with a student; goes on where it was killed",
    "export": "write a student as OpenVINO files: fp32 and INT8",
    "batch": "answer a batch file of the OpenAI Batch API, as vllm run-batch does",
    "report": "write metrics.json and report.html; with two runs, show them side by side",
    "status": "how far a run is; can be called while it runs",
    "serve": "keep the job's vLLM servers up behind one OpenAI-compatible address",
    "bench": "run a benchmark suite and hold it against its bounds",
    "kernels": "measure the operators of language models on this machine's device, against its measured ceilings",
    "doctor": "what this machine has, what is missing, and how to mend it",
}


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        print(f"xpoll: {message} -> {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    root = OneLineParser(prog="xpoll", description="Unlabelled text in, a trustworthy small classifier out.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    json_flag = OneLineParser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="print machine-readable results")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text, parents=[json_flag])
        if name == "predict":
            command.add_argument("student", type=Path, help="student folder, or the run folder that holds it")
            command.add_argument("input", help="CSV, JSONL, Parquet or Arrow file, a pattern or folder of them")
            command.add_argument("output", type=Path, help="CSV, JSONL or Parquet file to write")
            command.add_argument("--text-column", default="text", help="column that holds the text (default: text)")
            command.add_argument(
                "--runtime", default="pytorch", choices=RUNTIMES, help="what computes (default: pytorch)"
            )
            command.add_argument(
                "--cascade", type=Path, metavar="RUN", help="put what the student is unsure of to the panel of this run"
            )
            command.add_argument(
                "--target",
                type=float,
                default=0.9,
                help="with --cascade: accuracy the student is to reach alone, 0 to 1",
            )
        elif name == "export":
            add_export_arguments(command)
        elif name == "batch":
            batch.add_arguments(command)
        elif name == "bench":
            command.add_argument("suite", nargs="?", help="name of a suite, or `compare`; without one, lists them")
            command.add_argument("files", nargs="*", help="with `compare`: two files of records, or names of baselines")
            command.add_argument("--list", action="store_true", help="list the suites")
            command.add_argument("--output", type=Path, help="file of the records (default: runs/bench/NAME-TIME.json)")
            command.add_argument(
                "--set", action="append", default=[], metavar="parameters.KEY=VALUE", help="override a parameter"
            )
        elif name == "kernels":
            command.add_argument(
                "--output", type=Path, help="file of the records (default: runs/bench/kernels-TIME.json)"
            )
            command.add_argument(
                "--set", action="append", default=[], metavar="parameters.KEY=VALUE", help="override a parameter"
            )
        elif name == "doctor":
            command.add_argument("--probe", action="store_true", help="also ask PyTorch what it sees; starts a process")
        elif name == "review":
            add_review_commands(command, [json_flag])
        else:
            nargs = "+" if name == "plan" else None
            command.add_argument("job", type=Path, nargs=nargs, help="job TOML, or an existing run folder")
            if name == "status":
                port = "serve the run's load as Prometheus metrics on this port until Ctrl-C (board: docs/grafana.json)"
                command.add_argument("--metrics-port", type=int, help=port)
            if name == "report":
                command.add_argument("other", type=Path, nargs="?", help="another run, to see the two side by side")
                command.add_argument("--markdown", action="store_true", help="write report.md, too")
            if name in ("run", "poll"):
                command.add_argument("--address", help="run on the Ray cluster at this address (engine.address)")
            if name == "serve":
                command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
                command.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
            if name != "status":
                command.add_argument(
                    "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a config key"
                )
            if name == "vote":
                command.add_argument(
                    "--compare", action="store_true", help="print every method on the votes there are; writes nothing"
                )
    return root


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    _quiet_libraries()
    parsed = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is a Ctrl-C
    try:
        return _run(parsed)
    except UserError as error:
        print(f"xpoll: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        again = " ".join(["xpoll", *(arguments or sys.argv[1:])])
        print(f"\nxpoll: stopped; what was answered is kept -> {again}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our stdout has gone, e.g. `xpoll plan job.toml | head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(parsed: argparse.Namespace) -> int:
    match parsed.command:
        case "doctor":
            return show_doctor(as_json=parsed.json, probe=parsed.probe)
        case "predict":
            return _predict(parsed)
        case "export":
            return export(parsed)
        case "batch":
            return batch.run_batch(parsed, log_to=_log_to)
        case "bench":
            return _bench(parsed)
        case "kernels":
            from benchmarks.suite import run_suite

            document = run_suite("kernels", overrides=parsed.set, output=parsed.output)
            return show_kernels(document, as_json=parsed.json)
        case "serve":
            from scripts.serve import serve_job

            config = load_config(parsed.job, parsed.set)
            return serve_job(config, host=parsed.host, port=parsed.port, as_json=parsed.json)
        case "review":
            return review(parsed)
        case "status":
            is_folder = (parsed.job / "config.resolved.json").exists()
            path = parsed.job if is_folder else Path(load_config(parsed.job).job.run_folder)
            if parsed.metrics_port is not None:
                return serve_metrics(RunFolder(path), parsed.metrics_port)
            return show_status(RunFolder(path), as_json=parsed.json)
        case "plan":
            return _plans(parsed)
        case "panel":
            return show_panel(load_config(parsed.job, parsed.set), as_json=parsed.json)
        case "vote" if parsed.compare:
            return _compare_votes(load_config(parsed.job, parsed.set), as_json=parsed.json)
        case "report" if parsed.other is not None:
            return show_run_comparison(parsed.job, parsed.other, as_json=parsed.json)
        case "report":
            return _report(parsed)
        case "run":
            return _whole_path(_config(parsed), as_json=parsed.json)
        case step:
            return _one_step(step, _config(parsed), as_json=parsed.json)


def _config(parsed: argparse.Namespace) -> Config:
    address = getattr(parsed, "address", None)
    return load_config(parsed.job, [*parsed.set, *([f"engine.address={address}"] if address else [])])


def _plans(parsed: argparse.Namespace) -> int:
    """The plan of one job, or of several under their names; one that cannot run here does not hide the others."""
    if len(parsed.job) == 1:
        return show_plan(pipeline.plan(load_config(parsed.job[0], parsed.set)), as_json=parsed.json)
    plans: dict[str, Any] = {}
    code = 0
    for job in parsed.job:
        try:
            plans[str(job)] = pipeline.plan(load_config(job, parsed.set))
        except UserError as error:
            plans[str(job)] = {"error": str(error)}
            code = error.exit_code
    if parsed.json:
        print(json.dumps(plans))
        return code
    for name, plan in plans.items():
        print(f"{name}:")
        show_plan(plan, as_json=False)
    return code


def _whole_path(config: Config, *, as_json: bool) -> int:
    pipeline.require_one_label(config, "student")
    inputs = pipeline.check_inputs(config)
    folder = open_run_folder(config)
    _log_to(folder.log)
    todo = [name for name in pipeline.STEPS if not pipeline.is_done(name, folder, inputs)]
    if not todo:
        print(f"nothing left to do in {folder.path}", file=sys.stderr)
    for name, step in pipeline.STEPS.items():
        # Looked at again for each: a poll that asked something removes what was made before.
        if not pipeline.is_done(name, folder, inputs):
            _timed(name, step, config, folder)
    return show_metrics(folder, as_json=as_json)


def _one_step(name: str, config: Config, *, as_json: bool) -> int:
    step = pipeline.STEPS[name]
    if name == "poll":
        pipeline.check_inputs(config)
    else:
        there = RunFolder(Path(config.job.run_folder))
        there.require(there.plan, step="poll")
    folder = open_run_folder(config, may_change=step.own_sections)
    _log_to(folder.log)
    if name != "poll":  # poll removes them itself, and only if it asked something
        pipeline.remove_after(folder, name)
    _timed(name, step, config, folder)
    made: dict[str, Any] = {"step": name, "outputs": [str(folder.path / output) for output in step.outputs]}
    print(json.dumps(made) if as_json else f"{name}: wrote {', '.join(made['outputs'])}")
    return 0


def _report(parsed: argparse.Namespace) -> int:
    config = _config(parsed)
    code = _one_step("report", config, as_json=parsed.json)
    if parsed.markdown:
        show_markdown(RunFolder(Path(config.job.run_folder)))
    return code


def _timed(name: str, step: pipeline.Step, config: Config, folder: RunFolder) -> None:
    started_s = time.monotonic()
    with measured(name, config, folder):
        step.run(config, folder)
    logging.info("%s done in %.1f s", name, time.monotonic() - started_s)


def _predict(parsed: argparse.Namespace) -> int:
    if parsed.cascade:
        from scripts.cascade import predict_with_panel

        return predict_with_panel(parsed)
    from student.predict import predict_file

    student = student_folder(parsed.student)
    rows = predict_file(student, parsed.input, parsed.output, text_column=parsed.text_column, runtime=parsed.runtime)
    result = {"rows": rows, "output": str(parsed.output)}
    print(json.dumps(result) if parsed.json else f"predict: wrote {rows} rows to {parsed.output}")
    return 0


def _compare_votes(config: Config, *, as_json: bool) -> int:
    from benchmarks.vote_comparison import compare_run

    return show_comparison(compare_run(RunFolder(Path(config.job.run_folder)), config), as_json=as_json)


def _bench(parsed: argparse.Namespace) -> int:
    from benchmarks.suite import read_suite, run_suite, suite_names

    if parsed.list or parsed.suite is None:
        return show_suites({name: read_suite(name) for name in suite_names()}, as_json=parsed.json)
    if parsed.suite == "compare":
        return compare_documents(parsed.files, as_json=parsed.json)
    if parsed.files:
        raise ConfigError(f"{parsed.files[0]!r} is one argument too many", mend=f"xpoll bench {parsed.suite}")
    document = run_suite(parsed.suite, overrides=parsed.set, output=parsed.output)
    if parsed.suite == "tune":
        from benchmarks.tune import write_best

        say(f"[engine.vllm]: {write_best(document)}")
    return show_suite(document, as_json=parsed.json)


def _log_to(path: Path) -> None:
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(filename=path, level=logging.INFO, format=form, force=True)


def _quiet_libraries() -> None:
    """Their progress bars and advice would stand between ours; set before any of them is imported."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
    }.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    raise SystemExit(main())

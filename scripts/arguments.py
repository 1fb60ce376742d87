"""What each command of `xpoll` takes. Imports nothing of the commands themselves, so that help comes at once."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

RUNTIMES = ["pytorch", "openvino", "openvino-int8-weights", "openvino-int8"]

FORMS = ["csv", "labelstudio", "argilla"]

JOB = "job TOML, or an existing run folder"

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
    """All commands; each has --json."""
    root = OneLineParser(prog="xpoll", description="Unlabelled text in, a trustworthy small classifier out.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    json_flag = OneLineParser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="print machine-readable results")
    for name, text in HELP.items():
        command = commands.add_parser(name, help=text, description=text, parents=[json_flag])
        if name == "review":
            _review(command, [json_flag])
        elif name in OWN:
            OWN[name](command)
        else:
            _of_job(name, command)
    return root


def _of_job(name: str, command: argparse.ArgumentParser) -> None:
    """A command that takes a job, and what it takes beside."""
    command.add_argument("job", type=Path, nargs="+" if name == "plan" else None, help=JOB)
    _set(command, "SECTION.KEY=VALUE", "override a config key")
    match name:
        case "report":
            command.add_argument("other", type=Path, nargs="?", help="another run, to see the two side by side")
            command.add_argument("--markdown", action="store_true", help="write report.md, too")
        case "run" | "poll":
            command.add_argument("--address", help="run on the Ray cluster at this address (engine.address)")
        case "serve":
            command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
            command.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
        case "vote":
            compare = "print every method on the votes there are; writes nothing"
            command.add_argument("--compare", action="store_true", help=compare)


def _set(command: argparse.ArgumentParser, form: str, text: str) -> None:
    command.add_argument("--set", action="append", default=[], metavar=form, help=text)


def _status(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", type=Path, help=JOB)
    port = "serve the run's load as Prometheus metrics on this port until Ctrl-C (board: docs/grafana.json)"
    command.add_argument("--metrics-port", type=int, help=port)


def _predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("student", type=Path, help="student folder, or the run folder that holds it")
    command.add_argument("input", help="CSV, JSONL, Parquet or Arrow file, a pattern or folder of them")
    command.add_argument("output", type=Path, help="CSV, JSONL or Parquet file to write")
    command.add_argument("--text-column", default="text", help="column that holds the text (default: text)")
    command.add_argument("--runtime", default="pytorch", choices=RUNTIMES, help="what computes (default: pytorch)")
    device = "of PyTorch, e.g. cpu or xpu:1 (default: all accelerators), or OpenVINO, e.g. GPU or MULTI:GPU.0,GPU.1"
    command.add_argument("--device", help=device)
    cascade = "put what the student is unsure of to the panel of this run"
    command.add_argument("--cascade", type=Path, metavar="RUN", help=cascade)
    target = "with --cascade: accuracy the student is to reach alone, 0 to 1"
    command.add_argument("--target", type=float, default=0.9, help=target)


def _bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("suite", nargs="?", help="name of a suite, or `compare`; without one, lists them")
    command.add_argument("files", nargs="*", help="with `compare`: two files of records, or names of baselines")
    command.add_argument("--list", action="store_true", help="list the suites")
    command.add_argument("--output", type=Path, help="file of the records (default: runs/bench/NAME-TIME.json)")
    _set(command, "parameters.KEY=VALUE", "override a parameter")


def _kernels(command: argparse.ArgumentParser) -> None:
    command.add_argument("--output", type=Path, help="file of the records (default: runs/bench/kernels-TIME.json)")
    _set(command, "parameters.KEY=VALUE", "override a parameter")


def _doctor(command: argparse.ArgumentParser) -> None:
    command.add_argument("--probe", action="store_true", help="also ask PyTorch what it sees; starts a process")


def _review(command: argparse.ArgumentParser, parents: list[Any]) -> None:
    """The three commands below `xpoll review`."""
    parser_class = type(command)
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=parser_class)
    sample = actions.add_parser("sample", help="draw a sample of the labels for people to check", parents=parents)
    sample.add_argument("job", type=Path, help=JOB)
    sample.add_argument("--size", type=int, required=True, metavar="N", help="documents to draw")
    sample.add_argument("--format", choices=FORMS, default="csv", help="form to write (default: csv)")
    sample.add_argument("--output", type=Path, help="file to write (default: in the run folder)")
    read = actions.add_parser("import", help="read the filled form back", parents=parents)
    read.add_argument("job", type=Path, help=JOB)
    read.add_argument("file", type=Path, help="CSV, or the JSON export of Label Studio or Argilla")
    errors = actions.add_parser("errors", help="list labels that are likely wrong", parents=parents)
    errors.add_argument("job", type=Path, help=JOB)
    errors.add_argument("--limit", type=int, default=20, metavar="N", help="most rows to list (default: 20)")


def _batch(command: argparse.ArgumentParser) -> None:
    """What `xpoll batch` takes; -i and -o as `vllm run-batch` names them."""
    command.add_argument("input", nargs="?", help="batch file of OpenAI's form, JSONL")
    command.add_argument("output", nargs="?", help="file to write, JSONL")
    command.add_argument("-i", "--input-file", help="INPUT under the name that vllm run-batch has for it")
    command.add_argument("-o", "--output-file", help="OUTPUT under the name that vllm run-batch has for it")
    command.add_argument("--model", help="model that answers; without it the one that the lines name")
    command.add_argument("--run-folder", type=Path, help="folder of answers on their way (default: OUTPUT.run)")
    command.add_argument("--set", action="append", default=[], metavar="engine.KEY=VALUE", help="set an engine key")


def _export(command: argparse.ArgumentParser) -> None:
    command.add_argument("student", type=Path, help="student folder, or the run folder that holds it")
    command.add_argument("--texts", help="file of texts to calibrate INT8 with (default: the voted texts of the run)")
    command.add_argument("--text-column", default="text", help="column that holds the text (default: text)")
    command.add_argument(
        "--push-to-hub", metavar="USER/NAME", help="upload the folder to the Hugging Face hub; needs HF_TOKEN"
    )
    command.add_argument(
        "--python", default=".venv-ipex/bin/python", help="Python of the environment that `make ipex` builds"
    )


OWN: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "status": _status,
    "predict": _predict,
    "export": _export,
    "batch": _batch,
    "bench": _bench,
    "kernels": _kernels,
    "doctor": _doctor,
}
"""The commands that take something else than a job and --set."""

"""`xpoll`: one command per step. Figures go to stdout, progress and errors to stderr.

Exit codes: 0 done, 1 `doctor` warns or a check of `bench` does not hold, 2 a mistake the user can mend
(one line says what, why and what to type) or answers that are lost (`check`, `status`), 75 what is asked cannot be
reached or answers nobody for now, 130 stopped by Ctrl-C, SIGTERM or a closed terminal (after both the same command
resumes).
"""

import errno
import importlib
import os
import signal
import sys
from types import FrameType, ModuleType

from xpoll.core.errors import RunFolderError, UserError
from xpoll.core.log import own_process
from xpoll.core.machine.environment import quiet_libraries, settle_home
from xpoll.core.progress import leave_terminal, quieted
from xpoll.core.secrets import strike_streams
from xpoll.scripts.arguments import OneLineParser, add_common

COMMANDS = {
    "init": "look at a file of texts and write a job for it, with comments",
    "examples": "list the examples that come with xpoll, or copy one here",
    "run": "the whole path: poll, vote, train, evaluate, report; resumes where it stopped",
    "synthesize": "let personas write texts, labelled or not, and keep what passes the gates; resumes where it stopped",
    "personas": "make a large set of personas: expand it, take out near-duplicates, draw a stated mix",
    "plan": "what poll would do; starts nothing, writes nothing",
    "panel": "who would be asked, and how much they differ; starts no engine, writes nothing",
    "poll": "ask the panel about every document",
    "vote": "count the answers into labels",
    "review": "let people check a sample of the labels, and bound how many others are wrong",
    "estimate": "the share of each label among all texts, with intervals, from the votes and people's answers",
    "train": "fine-tune the student on the labels",
    "evaluate": "score teacher and student on the gold rows",
    "predict": "label a file with a student; resumes where it was killed",
    "export": "write a student as OpenVINO files: fp32 and INT8",
    "batch": "answer a batch file of the OpenAI Batch API, as vllm run-batch does",
    "report": "write metrics.json and report.html; with two runs, show them side by side",
    "check": "what of a run is whole, what is lost, and what to type; writes nothing",
    "status": "how far a run is; can be called while it runs",
    "serve": "keep a student, a panel with its engines, or both as a cascade up behind one OpenAI-compatible address",
    "bench": "run a benchmark suite and hold it against its bounds",
    "kernels": "measure the operators of language models on this machine's device, against its measured ceilings",
    "doctor": "what this machine has, what is missing, and how to mend it",
    "completion": "print a script that completes commands, options and files in bash or zsh",
}
"""Name and help, in the order of the data. To add a command: one line here and scripts/commands/NAME.py, which has
`add_arguments(parser)` and `call(parsed)`, the exit code."""

DISK_REFUSES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What any command can meet at any write: the disk is full, the quota is used up, or it is read-only."""

MEASURING = frozenset({"bench", "kernels"})
"""Commands that begin anew; what they had measured is written as an incomplete document."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    settle_home()
    quiet_libraries()
    strike_streams()
    own_process()
    given = sys.argv[1:] if arguments is None else arguments
    parsed = parser(*given[:1]).parse_args(given)
    module = _module(parsed.command)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is a Ctrl-C
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, _hung_up)
    try:
        with quieted(parsed.quiet):
            code: int = module.call(parsed)
    except UserError as error:
        print(f"xpoll: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        left = "the records so far are written" if parsed.command in MEASURING else "what was done is kept"
        print(f"\nxpoll: stopped; {left} -> {' '.join(['xpoll', *given])}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our stdout has gone, e.g. `xpoll plan job.toml | head -3`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in DISK_REFUSES:
            raise
        from xpoll.core.files import cannot_write  # with pyarrow, which `--help` can do without

        print(f"xpoll: {cannot_write(error.filename or 'its files', error)}", file=sys.stderr)
        return RunFolderError.exit_code
    return code


def parser(*names: str) -> OneLineParser:
    """All commands with their help, and the arguments of those that are named: no other module is imported."""
    root = OneLineParser(prog="xpoll", description="Unlabelled text in, a trustworthy small classifier out.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=OneLineParser)
    for each, text in COMMANDS.items():
        command = commands.add_parser(each, help=text, description=text)
        add_common(command)
        if each in names:
            _module(each).add_arguments(command)
    return root


def _hung_up(_number: int, _frame: FrameType | None) -> None:
    """The terminal is closed: a Ctrl-C, of which nothing can be said there."""
    leave_terminal()
    raise KeyboardInterrupt


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"xpoll.scripts.commands.{name}")


if __name__ == "__main__":
    raise SystemExit(main())

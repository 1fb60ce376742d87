"""`xpoll check`: what of a run is whole, what is lost, and what to type."""

import argparse
import json
from pathlib import Path

from xpoll.core.config.file import load_config
from xpoll.core.errors import UserError
from xpoll.core.formatting import counted, number
from xpoll.core.run_folder import RunFolder
from xpoll.pipeline.check import CheckedFile, CheckedPoll, RunCheck, check_run
from xpoll.scripts.arguments import JOB


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The job."""
    command.add_argument("job", type=Path, help=JOB)


def call(parsed: argparse.Namespace) -> int:
    """Prints what is whole; 0 if all of it is, else 2."""
    folder = RunFolder(parsed.job if parsed.job.is_dir() else Path(load_config(parsed.job).job.run_folder))
    found = check_run(folder)
    if parsed.json:
        print(json.dumps(found.as_json() | {"whole": found.whole}))
    else:
        _show(found)
    return 0 if found.whole else UserError.exit_code


def _show(found: RunCheck) -> None:
    for poll in (*found.texts, *found.polls):
        _show_poll(poll, found.run_folder if poll.teacher is None else f"{found.run_folder}, {poll.teacher}")
    for problem in found.problems:
        print(f"lost: {problem.what} -> {problem.mend}")
    print("whole: nothing that was answered is lost" if found.whole else "not whole")
    if found.commands:
        print(f"type: {'; '.join(found.commands)}")


def _show_poll(poll: CheckedPoll, name: str) -> None:
    there = f"{counted(poll.answers, 'answer')} in {counted(len(poll.files), 'file')}"
    print(f"{name}: {there}, {number(poll.counted)} counted by engine.json")
    for line in filter(None, map(_file_line, poll.files)):
        print(f"  {line}")
    if poll.set_aside:
        print(f"  set aside, and asked again: {', '.join(poll.set_aside)}")
    if documents := poll.documents:
        print(f"  {number(documents.settled)} of {counted(documents.documents, 'document')} settled")
        if documents.unsettled_ids:
            more = ", ..." if documents.documents - documents.settled > len(documents.unsettled_ids) else ""
            print(f"  answers are missing of: {', '.join(documents.unsettled_ids)}{more}")


def _file_line(file: CheckedFile) -> str | None:
    if file.problem is not None:
        return f"{file.file} {file.problem}"
    if file.torn_bytes:
        return f"{file.file}: its last {number(file.torn_bytes)} bytes are no whole append, and were never counted"
    return None

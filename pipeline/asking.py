"""Teachers are asked: those that need the same devices one after the other, the others side by side.

Each group that shares a device is asked by a process of its own, because a driver has one Ray and one pair of signal
handlers; where all teachers share one, by this process.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from xpoll.core.config.file import checked_config
from xpoll.core.config.job import Config, PromptOrder
from xpoll.core.config.teachers import Teacher, teachers_of
from xpoll.core.errors import EngineError, UserError
from xpoll.core.log import log_to, own_process
from xpoll.core.progress import say
from xpoll.core.record_files import stream_records
from xpoll.core.records import Document, Prompt
from xpoll.core.run_folder import RunFolder
from xpoll.engine.backends.registry import devices_for, spec_of
from xpoll.engine.interrupt import draining
from xpoll.engine.planning.plan import read_plan
from xpoll.engine.work import NeverStop, StopRule
from xpoll.personas.panel import read_panel
from xpoll.personas.probes import asked_of_probe, is_probe
from xpoll.pipeline.prompts import prompts_of
from xpoll.votes.stop import StopButAskProbes, stop_rule

WAIT_S = 0.2
"""Between two looks at what a process of a group does."""
ONE_ENDS_THE_POLL = frozenset({"parameter"})
"""Kinds of error rows of which one says that all of a poll would be refused: its prompts have the same parameters."""


def documents_of(folder: RunFolder) -> Iterator[Document]:
    """The rows of documents.parquet."""
    return stream_records(folder.require(folder.documents, step="poll"), Document)


def ask(teacher: Teacher, folder: RunFolder) -> int:
    """Asks one teacher about each document that is not settled.

    Args:
        teacher: Has its plan and panel in its folder.
        folder: The run, which has the documents.

    Returns:
        The number of new answers.
    """
    from xpoll.engine.run import Workload, answer_prompts

    config, own = teacher.config, teacher.folder
    plan = read_plan(own.plan)
    panel = read_panel(own.require(own.panel, step="poll"))
    order = cast(PromptOrder, plan.prompt_order)

    def besides(settled: Callable[[str], bool]) -> Iterator[Prompt]:
        documents = (each for each in documents_of(folder) if not settled(each.document_id))
        return prompts_of(config, documents, panel.personas, order, logprobs=plan.logprobs)

    prompts = besides(lambda _: False)
    workload = Workload(prompts, plan.to_settle, asked_of(config), stop_of(config), ONE_ENDS_THE_POLL, besides)
    return answer_prompts(workload, config=config.engine, folder=own)


def asked_of(config: Config) -> Callable[[str], int]:
    """From a document's id to the number of its prompts."""
    return lambda document_id: asked_of_probe(config) if is_probe(document_id) else config.panel.asked_each


def stop_of(config: Config) -> StopRule:
    """When a document needs no more answers."""
    rule = stop_rule(config)
    return StopButAskProbes(rule) if rule else NeverStop()


def ask_all(config: Config, folder: RunFolder) -> int:
    """Asks every teacher of a job; returns the number of new answers.

    Raises:
        UserError: a teacher could not be asked; the others were, and what they said is kept.
    """
    groups = groups_of(teachers_of(config))
    if len(groups) == 1:
        return sum(ask(teacher, folder) for teacher in groups[0])
    return _side_by_side(config, groups)


def groups_of(teachers: Sequence[Teacher]) -> list[list[Teacher]]:
    """Teachers that share a place, in their order: a kind of device, an endpoint, or a Ray cluster."""
    groups: dict[str, list[Teacher]] = {}
    for teacher in teachers:
        groups.setdefault(_place(teacher.config), []).append(teacher)
    return list(groups.values())


def _place(config: Config) -> str:
    engine = config.engine
    if engine.address:
        return f"the cluster at {engine.address}"
    if not spec_of(engine.backend).runs_here:
        return f"the endpoint {engine.backend_options.get('base_url')}"
    return devices_for(engine)[0].kind


class _Group(NamedTuple):
    """A process that asks some teachers."""

    names: str
    process: subprocess.Popen[str]
    reader: threading.Thread


def _side_by_side(config: Config, groups: Sequence[Sequence[Teacher]]) -> int:
    say(f"asking side by side: {'; '.join(_names(group) for group in groups)}")
    with draining() as drain:
        running = [_started(config, group) for group in groups]
        try:
            while _any_left(running) and not drain.wait(WAIT_S):
                pass
            _signal(running)  # which reaches those that are left: they drain
            while _any_left(running):
                time.sleep(WAIT_S)
        except KeyboardInterrupt:
            _signal(running)  # the second of theirs, too: they stop at once
            raise
        finally:
            results = [_result(group) for group in running]
        if drain.is_set():
            raise KeyboardInterrupt
    for group, result in zip(running, results, strict=True):
        if "error" in result:
            error = UserError(f"{group.names}: {result['error']}")
            error.exit_code = result["exit_code"]
            raise error
    return sum(result["answers"] for result in results)


def _names(group: Sequence[Teacher]) -> str:
    return " then ".join(str(teacher.name) for teacher in group)


def _started(config: Config, group: Sequence[Teacher]) -> _Group:
    """The process; its signals come from here alone, and what it says on stderr is passed on behind its name."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "xpoll.pipeline.asking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(json.dumps({"config": config.resolved(), "teachers": [each.name for each in group]}) + "\n")
    process.stdin.flush()  # and stays open: where it ends, this process has
    reader = threading.Thread(target=_pass_on, args=(process.stderr, _names(group)), daemon=True)
    reader.start()
    return _Group(_names(group), process, reader)


def _pass_on(lines: IO[str], names: str) -> None:
    for line in lines:
        if line.strip():
            say(f"{names}: {line.rstrip()}")


def _any_left(running: Sequence[_Group]) -> bool:
    return any(group.process.poll() is None for group in running)


def _signal(running: Sequence[_Group]) -> None:
    for group in running:
        if group.process.poll() is None:
            group.process.send_signal(signal.SIGTERM)


def _result(group: _Group) -> dict[str, Any]:
    assert group.process.stdout is not None
    said = group.process.stdout.read()
    code = group.process.wait()
    group.reader.join()
    try:
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        error = EngineError(f"{group.names}: the process that asked ended with {code}", mend="xpoll poll RUN_FOLDER")
        return {"error": str(error), "exit_code": error.exit_code}
    return found


def main() -> int:
    """Asks some teachers of a job, which stdin names; prints the number of answers, or the error, as JSON."""
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    own_process()
    config = checked_config(Config, told["config"], mend="xpoll poll")
    folder = RunFolder(Path(config.job.run_folder))
    log_to(folder.log)
    try:
        chosen = [teacher for teacher in teachers_of(config) if teacher.name in told["teachers"]]
        found: dict[str, Any] = {"answers": sum(ask(teacher, folder) for teacher in chosen)}
    except UserError as error:
        found = {"error": str(error), "exit_code": error.exit_code}
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _end_with_parent() -> None:
    """What is journalled is kept; the engines end with this process."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main())

"""Students that write, trained, killed and served; also the process that is killed: FOLDER is its argument.

The contract of that process is a folder: task.json and rows.jsonl in, student/ out.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.purchase_notes import NoteRow, purchase_notes, right_fields
from xpoll.benchmarks.workloads.recording import recording_folder
from xpoll.core.config.file import checked_section
from xpoll.core.config.job import DocumentsConfig, StudentConfig
from xpoll.core.errors import EngineError
from xpoll.core.files import read_json, write_json, write_text
from xpoll.core.machine.processes import guard_processes
from xpoll.core.progress import say
from xpoll.core.tables.readers import stream_rows
from xpoll.student.causal_lm.evaluate import evaluate_causal
from xpoll.student.causal_lm.examples import TrainingExample, of_split, read_examples
from xpoll.student.causal_lm.record import CausalTraining, Perplexity
from xpoll.student.causal_lm.train import train_causal

NUM_FIELDS = 5
"""Of a purchase note's JSON."""


def rows_of(name: str, parameters: Parameters) -> list[NoteRow]:
    """The rows of a set, `parameters.rows` of them.

    Raises:
        ConfigError: the set is in files, and parameters.data does not say where.
    """
    if name == "purchase_notes":
        return purchase_notes(parameters["rows"])
    path = recording_folder(parameters["data"]) / "mixtral_train.csv"
    found = []
    for row in stream_rows(str(path), key="parameters.data", needs=("text", "vote_1", "reason_1")):
        text, label, reason = (row.values.get(name) for name in ("text", "vote_1", "reason_1"))
        if row.problem is None and text and label and reason:
            question = "Is this positive, negative or neutral for investors, and why?"
            found.append(NoteRow(f"{text}\n{question}", f"{label}: {reason}"))
        if len(found) == parameters["rows"]:
            break
    return found


def section_of(parameters: Parameters, **changes: Any) -> StudentConfig:
    """The [student] section of the suite: the parameters `student`, with changes."""
    given = {"kind": "causal-lm", "model": parameters["model"]}
    return checked_section(StudentConfig, parameters["student"] | given | changes, "parameters.student")


def written(rows: Sequence[NoteRow], folder: Path, *, held_out: float) -> list[TrainingExample]:
    """The rows as a job reads them, from a file in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.jsonl"
    write_text(path, "".join(json.dumps(row._asdict()) + "\n" for row in rows))
    return read_examples(DocumentsConfig(path=str(path)), held_out=held_out)


def measure_perplexity(parameters: Parameters, root: Path) -> Iterator[Record]:
    """One record per set and seed: held-out perplexity before and after, and fields that are right where they count."""
    for name in parameters["sets"]:
        for seed in range(parameters["first_seed"], parameters["first_seed"] + parameters["seeds"]):
            say(f"{name}: seed {seed}")
            config, place = section_of(parameters), root / f"{name}-{seed}"
            examples = written(rows_of(name, parameters), place, held_out=config.held_out)
            training = train_causal(examples, config=config, seed=seed, output=place / "student")
            begun_s = time.monotonic()
            found = evaluate_causal(examples, place / "student", config=config, samples=len(examples))
            record: Record = {"part": "perplexity", "arm": name, "seed": seed, **_of_training(training)}
            record |= {"held_out_rows": found.held_out_rows, "held_out_tokens": found.held_out_tokens}
            for figure, each in (("before", found.before), ("after", found.after), ("ratio", found.ratio)):
                record |= _with_ends(figure if figure == "ratio" else f"perplexity_{figure}", each)
            if name == "purchase_notes":
                record["fields_right_before"] = _share_right([(each.before, each.completion) for each in found.samples])
                record["fields_right_after"] = _share_right([(each.after, each.completion) for each in found.samples])
            yield record | {"evaluate_s": round(time.monotonic() - begun_s, 1)}


def _of_training(training: CausalTraining) -> Record:
    kept = {"rows", "steps", "learned_tokens", "trained_parameters", "wall_s", "tokens_per_s", "final_loss"}
    return training.model_dump(include=kept)


def _with_ends(figure: str, found: Perplexity | None) -> Record:
    if found is None:
        return {}
    low, high = found.ci95 or (None, None)
    return {figure: found.value, f"{figure}_low": low, f"{figure}_high": high}


def _share_right(pairs: Sequence[tuple[str, str]]) -> float:
    return sum(right_fields(text, wanted) for text, wanted in pairs) / (NUM_FIELDS * len(pairs))


def measure_resume(parameters: Parameters, root: Path) -> Iterator[Record]:
    """A training that ends itself with SIGKILL after a step and is started again, beside one that is not disturbed."""
    name, weights = parameters["sets"][0], []
    config = section_of(parameters, epochs=0.001, min_steps=parameters["resume_steps"])
    record: Record = {"part": "resume", "arm": name}
    for is_killed in (True, False):
        place = root / f"resume-{'killed' if is_killed else 'whole'}"
        examples = written(rows_of(name, parameters), place, held_out=config.held_out)
        if is_killed:
            killed_at = parameters["resume_killed_at"]
            write_json(place / "task.json", {"student": config.model_dump(mode="json"), "killed_at_step": killed_at})
            _killed(place)
        training = train_causal(examples, config=config, seed=0, output=place / "student")
        if is_killed:
            record |= {"killed_at_step": killed_at, "resumed_at_step": training.resumed_at_step}
        weights.append(place / "student" / "adapter" / "adapter_model.safetensors")
    yield record | {"largest_weight_difference": _largest_difference(*weights)}


def _killed(place: Path) -> None:
    """Trains in a process of its own until that kills itself.

    Raises:
        EngineError: it ended in another way.
    """
    log = place / "log"
    with log.open("ab") as output:
        child = subprocess.Popen([sys.executable, "-P", "-m", __name__, str(place)], stdout=output, stderr=output)
        guard_processes([child.pid])
        code = child.wait()
    if code != -signal.SIGKILL:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise EngineError(f"{place}: the training ended with exit code {code} before its kill: {tail}")


def _largest_difference(first: Path, second: Path) -> float:
    from safetensors.numpy import load_file

    ours, theirs = load_file(first), load_file(second)
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


def measure_served(parameters: Parameters, root: Path) -> Iterator[Record]:
    """The first set's first student behind `xpoll serve`, asked for the completions of the held-out prompts."""
    name = parameters["sets"][0]
    place, config = root / f"{name}-0", section_of(parameters)
    examples = written(rows_of(name, parameters), place, held_out=config.held_out)
    if not (place / "student").exists():
        train_causal(examples, config=config, seed=0, output=place / "student")
    held_out = of_split(examples, "held_out")
    begun_s = time.monotonic()
    with _served(place / "student", parameters["device"]) as (address, model):
        start_s = time.monotonic() - begun_s
        replies = [_asked(address, model, example.messages, config.max_length) for example in held_out]
    record: Record = {
        "part": "served",
        "arm": name,
        "prompts": len(held_out),
        "served_share": sum(bool(text.strip()) and ended == "stop" for text, ended in replies) / len(held_out),
        "start_s": round(start_s, 1),
        "wall_s": round(time.monotonic() - begun_s - start_s, 1),
    }
    if name == "purchase_notes":
        pairs = [(text, example.completion) for (text, _), example in zip(replies, held_out, strict=True)]
        record["served_fields_right"] = _share_right(pairs)
    yield record


@contextmanager
def _served(student: Path, device: str) -> Iterator[tuple[str, str]]:
    """Address and name of the model, for the duration of the block."""
    command = [sys.executable, "-P", "-m", "xpoll", "serve", str(student), "--port", "0", "--json"]
    with subprocess.Popen([*command, "--set", f"engine.device={device}"], stdout=subprocess.PIPE, text=True) as process:
        guard_processes([process.pid])
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise EngineError(f"xpoll serve {student} ended", mend="see the lines above")
            ready = json.loads(line)
            yield ready["address"], ready["model"]
        finally:
            process.terminate()


def _asked(address: str, model: str, messages: Sequence[Any], most_tokens: int) -> tuple[str, str]:
    """Text and finish reason of a greedy completion."""
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": most_tokens}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as reply:
        choice = json.load(reply)["choices"][0]
    return choice["message"]["content"] or "", choice["finish_reason"]


@contextmanager
def students_folder() -> Iterator[Path]:
    """A folder for students, removed after the block."""
    with tempfile.TemporaryDirectory(prefix="xpoll-generative-") as folder:
        yield Path(folder)


def main(place: Path) -> None:
    """Trains the student of a folder with a checkpoint at each step, and ends with SIGKILL within one of them."""
    from xpoll.student.causal_lm.training import fine_tune
    from xpoll.student.training.callbacks import TimedCheckpoint

    task = read_json(place / "task.json")

    class KilledCheckpoint(TimedCheckpoint):
        """Asks for a checkpoint at each step before the one that it kills the process in."""

        def __init__(self) -> None:
            super().__init__(every_s=0.0)

        def on_step_end(self, _: Any, state: Any, control: Any, **more: Any) -> Any:
            """Ends the process at the step."""
            if state.global_step == task["killed_at_step"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().on_step_end(_, state, control, **more)

    setattr(fine_tune, "TimedCheckpoint", KilledCheckpoint)  # noqa: B010
    config = StudentConfig.model_validate(task["student"])
    examples = read_examples(DocumentsConfig(path=str(place / "rows.jsonl")), held_out=config.held_out)
    train_causal(examples, config=config, seed=0, output=place / "student")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

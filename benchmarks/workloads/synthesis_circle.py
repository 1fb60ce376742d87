"""`xpoll run` of a job that writes its own texts, killed on the way; and what personas add in diversity."""

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from xpoll.benchmarks.runner.records import Parameters, Record
from xpoll.benchmarks.workloads.example_job import EXAMPLE
from xpoll.benchmarks.workloads.faults.poll_process import left_of, with_children
from xpoll.benchmarks.workloads.labelled_sets import labelled_set
from xpoll.core.config.file import load_config
from xpoll.core.errors import ConfigError, EngineError
from xpoll.core.files import read_json, write_json, write_text
from xpoll.core.progress import say
from xpoll.core.records import Key
from xpoll.core.run_folder import RunFolder
from xpoll.engine.journal.answers import count_answers, keys_on_disk
from xpoll.student.evaluation import read_evaluation
from xpoll.synthesis.figures import read_figures
from xpoll.synthesis.texts import read_texts

LOOK_EVERY_S = 0.2
KILLED_AT = 0.3
"""Share of a step's answers that are on disk when it is killed."""

JOB = """
[job]
run_folder = "run"
{synthesis}
[documents]
gold_path = "gold.csv"
{documents}
[task]
question = "{question}"
labels = {labels}
examples = {examples}
[panel]
personas = ["support_agent"]
answer = "read"
[engine]
model = "{model}"
device = "cpu"
[engine.vllm]
kv_cache_memory_bytes = 1073741824
[[teachers]]
name = "writer"
[[teachers]]
name = "minilm"
engine = {{backend = "encoder", model = "all-minilm-l6-v2"}}
[vote]
method = "pooled"
[student]
epochs = 5
min_steps = 0
batch_size = 8
max_length = 128
held_out = 0.0
"""
SYNTHESIS = """
[synthesis]
count = {count}
control = {control}
text_kind = "{kind}"
sampling = {sampling}
{personas}
"""
PERSONAS = "personas/persona_hub_5k.jsonl"
"""Within the folder of the data sets; without it the library's personas write in turn."""


class CircleTask:
    """Labels, examples, gold texts, and texts of people without labels: of BANKING77's first labels, or the example's.

    The examples are those that a job of one's own would have: `parameters.circle_examples` a label, by people, none of
    them among the other texts.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._personas = Path(parameters["data"], PERSONAS).resolve() if parameters["data"] else None
        try:
            number, data = parameters["circle_labels"], parameters["data"]
            train = labelled_set(data, "banking77", "train", rows=1_000_000, seed=parameters["seed"])
            test = labelled_set(data, "banking77", "test", rows=1_000_000, seed=parameters["seed"])
        except ConfigError as error:
            say(f"the example's texts are taken: {error}")
            config = load_config(EXAMPLE / "job.toml")
            self.labels, self.question = dict(config.task.labels), config.task.question
            self.kind, self.name = "sentence of a news item about a company", "the example"
            self.gold = _rows(EXAMPLE / "gold.csv")
            self.examples = [(each.text, each.named[0]) for each in config.task.examples]
            self.texts = [text for text, _ in _rows(EXAMPLE / "documents.csv")]
            return
        self.labels = dict.fromkeys(test.labels[:number], "")
        self.question, self.name = test.question, f"BANKING77, {number} labels"
        self.kind = "message of a customer to an online bank"
        named = zip(test.texts, test.named(test.truth), strict=True)
        self.gold = [(text, label) for text, label in named if label in self.labels][: parameters["circle_gold"]]
        self.examples, self.texts = [], []
        left = Counter(dict.fromkeys(self.labels, parameters["circle_examples"]))
        for text, label in zip(train.texts, train.named(train.truth), strict=True):
            if left[label] > 0:
                left[label] -= 1
                self.examples.append((text, label))
            elif label in self.labels:
                self.texts.append(text)

    def write(self, folder: Path, parameters: Parameters, *, count: int, control: int = 0, texts: int = 0) -> None:
        """Writes job.toml and what it names; texts of people where `texts` is above 0."""
        folder.mkdir(parents=True)
        _write(folder / "gold.csv", self.gold)
        _write(folder / "texts.csv", [(text, "") for text in self.texts[:texts]])
        own = self._personas is not None and self._personas.exists()
        synthesis = SYNTHESIS.format(
            count=count,
            control=control,
            kind=self.kind,
            sampling=_inline(parameters["sampling"]),
            personas=f"persona_file = {json.dumps(str(self._personas))}" if own else "",
        )
        examples = (f"{{text = {json.dumps(text)}, label = {json.dumps(label)}}}" for text, label in self.examples)
        job = JOB.format(
            synthesis="" if texts else synthesis,
            documents='path = "texts.csv"' if texts else "",
            question=self.question,
            labels=_inline({json.dumps(name): json.dumps(text) for name, text in self.labels.items()}),
            examples=f"[{', '.join(examples)}]",
            model=parameters["model"],
        )
        write_text(folder / "job.toml", job)


def _inline(table: Mapping[str, object]) -> str:
    """A table as TOML has it in one line, of keys and values that are TOML already."""
    return f"{{{', '.join(f'{name} = {value}' for name, value in table.items())}}}"


def _rows(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


class Command:
    """An xpoll command in a subprocess that can be killed."""

    def __init__(self, folder: Path, *arguments: str, timeout_s: float) -> None:
        self._folder, self._until_s = folder, time.monotonic() + timeout_s
        self._output = (folder / "output.txt").open("ab")
        command = [sys.executable, "-P", "-m", "xpoll", *arguments]
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._output, stderr=self._output, env=os.environ)

    def kill_when(self, reached: Callable[[], bool]) -> bool:
        """Kills it with SIGKILL as soon as something is the case; whether it was, before the command ended.

        Raises:
            EngineError: processes of it are left.
        """
        while not reached():
            if self._process.poll() is not None:
                return False
            self._wait()
        doomed = with_children([psutil.Process(self._process.pid)])
        self._process.kill()
        self._process.wait()
        self._output.close()
        if left := left_of(doomed):
            raise EngineError(f"processes of a killed run are left: {[each.pid for each in left]}")
        return True

    def finish(self) -> None:
        """Waits for its end.

        Raises:
            EngineError: it failed, or took too long.
        """
        while self._process.poll() is None:
            self._wait()
        self._output.close()
        if self._process.returncode:
            lines = (self._folder / "output.txt").read_text(errors="replace").strip().splitlines()
            raise EngineError(f"xpoll ended with {self._process.returncode}: {lines[-1] if lines else ''}")

    def _wait(self) -> None:
        if time.monotonic() > self._until_s:
            self._process.terminate()
            self._process.wait()
            raise EngineError(f"the run in {self._folder} was not done in time")
        time.sleep(LOOK_EVERY_S)


def measure_diversity(parameters: Parameters) -> Iterator[Record]:
    """How far texts of personas differ, and as many of nobody in particular."""
    number = parameters["diversity_texts"]
    with TemporaryDirectory() as root:
        folder = Path(root) / "diversity"
        CircleTask(parameters).write(folder, parameters, count=number, control=number)
        Command(folder, "synthesize", "job.toml", timeout_s=parameters["timeout_s"]).finish()
        figures = read_figures(RunFolder(folder / "run").synthesis_figures)
    for arm, found in (("with personas", figures.with_personas), ("without personas", figures.without_personas)):
        if found is not None:
            yield {"arm": arm, **found.model_dump()}


def measure_circle(parameters: Parameters) -> Iterator[Record]:
    """The circle with its kills and gates, then a student of as many texts of people.

    With `parameters.folder` a call that ends early is taken up by the next one, where it was.
    """
    task, timeout_s = CircleTask(parameters), parameters["timeout_s"]
    with _kept_folder(parameters["folder"]) as root:
        folder, people = root / "circle", root / "people"
        if not folder.exists():
            task.write(folder, parameters, count=parameters["circle_texts"])
        killed = _killed(folder, parameters)
        Command(folder, "run", "job.toml", timeout_s=timeout_s).finish()
        yield {"set": task.name, **circle_record(folder, killed)}
        if not people.exists():
            kept = read_figures(RunFolder(folder / "run").synthesis_figures).kept
            task.write(people, parameters, count=0, texts=kept)
        Command(people, "run", "job.toml", timeout_s=timeout_s).finish()
        yield {"arm": "people's texts", "set": task.name, **_scores(RunFolder(people / "run"))}


@contextmanager
def _kept_folder(name: str) -> Iterator[Path]:
    """The folder of that name, which is made and stays; without a name one for the block."""
    if not name:
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    Path(name).mkdir(parents=True, exist_ok=True)
    yield Path(name)


def _killed(folder: Path, parameters: Parameters) -> list[Counter[Key]]:
    """What was on disk after each kill; kills of an earlier call are not done again."""
    noted = folder / "killed.json"
    held: list[list[list[Any]]] = read_json(noted) if noted.exists() else []
    for step in STEPS[len(held) : parameters["kills"]]:
        held.append([list(key) for key in kill_in(step, folder, parameters).elements()])
        write_json(noted, held)
    return [Counter(Key(*key) for key in keys) for keys in held]


def circle_record(folder: Path, killed: Sequence[Counter[Key]]) -> Record:
    """What became of a circle that is done.

    Args:
        folder: Where its job is.
        killed: The answers that were on disk after each kill, as `kill_in` returns them.
    """
    run = RunFolder(folder / "run")
    figures, keys = read_figures(run.synthesis_figures), _keys(run)
    return {
        "arm": "personas' texts",
        "kills_survived": sum(bool(before) for before in killed),
        "lost_answers": sum((before - keys).total() for before in killed),
        "asked_twice": keys.total() - len(keys),
        "texts_asked": figures.asked,
        "texts_kept": figures.kept,
        **{f"taken_out_by_{each.gate}": each.removed for each in figures.gates},
        **_agreement(run),
        **_scores(run),
    }


STEPS = ("writing", "polling")


def kill_in(step: str, folder: Path, parameters: Parameters) -> Counter[Key]:
    """Runs the job and kills it with SIGKILL while it writes, or while it polls; the answers that are on disk then.

    Empty where the run ended before.
    """
    run = RunFolder(folder / "run")

    def reached() -> bool:
        parts = [run.synthesis_part("round-1")] if step == STEPS[0] else list(run.polls().values())
        return bool(sum(count_answers(part.completions) for part in parts) > KILLED_AT * parameters["circle_texts"])

    command = Command(folder, "run", "job.toml", timeout_s=parameters["timeout_s"])
    if not command.kill_when(reached):
        return Counter()
    keys = _keys(run)
    say(f"killed while {step}, with {keys.total()} answers on disk")
    return keys


def _keys(run: RunFolder) -> Counter[Key]:
    """Of all answers on disk; each with where it lies, because all teachers are asked about the same texts."""
    parts = (*run.synthesis_parts(), *run.polls().values())
    return Counter(
        key._replace(document_id=f"{part.path}\x1f{key.document_id}")
        for part in parts
        if part.completions.exists()
        for key in keys_on_disk(part.completions)
    )


def _agreement(run: RunFolder) -> Record:
    """Share of the texts whose vote names the label that they were written for."""
    import pyarrow.parquet as pq

    asked = {text.id: text.label for text in read_texts(run.synthesized, kept=True)}
    labels = {row["document_id"]: row["label"] for row in pq.read_table(run.labels).to_pylist()}
    agreed = sum(labels.get(name) == label for name, label in asked.items())
    return {"vote_agrees_share": agreed / len(asked) if asked else None}


def _scores(run: RunFolder) -> Record:
    """Accuracy and macro F1 of teacher and student on people's labels, with their intervals."""
    found = read_evaluation(run)
    scores = {"teacher": found.teacher, "student": found.student} if found else {}
    return {"gold_rows": found.gold_rows if found else 0} | {
        f"{rater}_{name}": value
        for rater, score in scores.items()
        if score is not None
        for name, value in (
            ("accuracy", score.accuracy),
            ("accuracy_low", score.accuracy_ci95[0]),
            ("accuracy_high", score.accuracy_ci95[1]),
            ("f1_macro", score.f1_macro),
        )
    }

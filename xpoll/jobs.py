"""Jobs of the API: texts of any kind in, a run out. All is done by the steps that the command line has, too."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from xpoll.core.config.file import checked_config, load_config, nearest, settle_place
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError, InputError
from xpoll.engine.planning.plan import Plan
from xpoll.engines import OpenEngine, engine_section
from xpoll.runs import Run
from xpoll.surroundings import as_library
from xpoll.texts import as_id, as_text, columns_of, path_of

SECTIONS = tuple(Config.model_fields)
DECIDES_NO_ANSWER = ("job", "documents", "vote", "student", "report")
"""Sections that the name of a run without one does not depend on; of the documents it depends on the rows."""
MEND = "see docs/reference/configuration.md"


class Job:
    """A job: all sections of docs/reference/configuration.md, each as a dict of its keys.

        job = xpoll.Job(documents={"path": "texts.csv"}, task={"labels": ["good", "bad"]})

    Attributes:
        config: Every key with its value, checked.

    Raises:
        ConfigError: a key is unknown, or a value breaks a rule.
    """

    config: Config

    def __init__(self, **sections: Any) -> None:
        raw = {name: dict(keys) if isinstance(keys, Mapping) else keys for name, keys in sections.items()}
        settle_place(raw, name="job")
        self.config = checked_config(Config, raw, mend=MEND)

    @classmethod
    def from_toml(cls, path: str | Path, **sections: Mapping[str, Any]) -> "Job":
        """The job of a TOML file, or of an existing run folder.

        Args:
            path: The file or folder.
            sections: Keys that take the place of the file's, by section, e.g. engine={"backend": "replay"}.

        Raises:
            ConfigError: the file is missing or malformed, a key is unknown, or a value breaks a rule.
        """
        job = cls.__new__(cls)
        job.config = load_config(Path(path), sections=sections)
        return job

    def plan(self) -> dict[str | None, Plan]:
        """What the poll would do, by teacher, as `xpoll plan` says it; starts nothing, writes nothing."""
        from xpoll.pipeline.prepare import outline

        with as_library(quiet=True):
            return outline(self.config)

    def run(self, *, engine: OpenEngine | None = None, quiet: bool = False) -> Run:
        """Runs every step that is not done: poll, vote, train, evaluate, report.

        A run that was interrupted resumes.

        Args:
            engine: One that stays up for several jobs; without it the job's own starts, and ends with the call.
            quiet: Whether to show no progress.

        Raises:
            UserError: whatever is wrong with the job, in one line.
            KeyboardInterrupt: it was stopped; the same call resumes.
        """
        return _run(self.config, until="report", engine=engine, quiet=quiet)

    def __repr__(self) -> str:
        return f"Job({self.config.job.name}: {self.config.documents.path} -> {', '.join(self.config.task.labels)})"


def label(
    texts: Any,
    labels: Any = None,
    *,
    question: str | None = None,
    gold: Any = None,
    text_column: str = "text",
    id_column: str | None = None,
    label_column: str = "label",
    engine: OpenEngine | str | Mapping[str, Any] | None = None,
    name: str | None = None,
    run_folder: str | Path | None = None,
    quiet: bool = False,
    **further: Any,
) -> Run:
    """Labels texts by a panel: asks, and counts the answers. `run.train()` makes a student of it.

    The same call resumes what was stopped, and asks nothing again that was answered.

    Args:
        texts: A list of texts; a table of pandas, polars, datasets or pyarrow; or a path, as `documents.path` has it.
        labels: Names of the labels, or a dict of name to description.
        question: What the panel is asked about each text.
        gold: Texts with known labels, to measure on: a table, a path, or a list of (text, label).
        text_column: Column that holds the text, in tables and files.
        id_column: Column that holds a unique id; without it the number of the row, from 0.
        label_column: Column of `gold` that holds the label.
        engine: An `Engine` that stays up, the name of a backend, or keys of [engine].
        name: Name of the run; without it one that is made of texts, task, panel and engine.
        run_folder: Folder of all outputs; runs/NAME in the current folder unless given.
        quiet: Whether to show no progress.
        further: Sections of docs/reference/configuration.md by name, e.g. panel={"personas": [...]}; or options of the
            engine by name, e.g. model="..." and base_url="...".

    Returns:
        The run; its `labels` have one row per text, in the order of the texts.

    Raises:
        UserError: whatever is wrong, in one line; see core/errors.py for its kinds.
        KeyboardInterrupt: it was stopped; the same call resumes.
    """
    path, gold_path = path_of(texts), path_of(gold, name="gold")
    sections = _sections(labels, question, engine, further)
    wanted = {"text_column": text_column, **({"id_column": id_column} if id_column else {})}
    handed: dict[str, dict[str, list[Any]]] = {}
    if path is None:
        handed["texts"] = columns_of(texts, wanted)
    if gold is not None and gold_path is None:
        handed["gold"] = _gold(gold, text_column, label_column, id_column)
    documents: dict[str, Any] = {
        **sections.get("documents", {}),
        "text_column": text_column,
        "id_column": id_column,
        "label_column": label_column,
        "path": path or "texts",
    }
    if gold is not None:
        documents["gold_path"] = gold_path or "gold"
    raw = {**sections, "documents": documents}
    place = _place(raw, handed, name, run_folder)
    for key, part in (("path", "texts"), ("gold_path", "gold")):
        if part in handed:
            documents[key] = str(place / f"{part}.parquet")
    config = checked_config(Config, raw, mend=MEND)
    with _handed_over(place, handed, documents):
        return _run(config, until="vote", engine=engine if isinstance(engine, OpenEngine) else None, quiet=quiet)


class Engine(OpenEngine):
    """An engine that stays up for several jobs, so that its model is loaded once.

        with xpoll.Engine(model="Qwen/Qwen2.5-7B-Instruct") as engine:
            first = engine.label(texts, labels=["complaint", "question"])
            second = engine.label(others, labels=["urgent", "can wait"])

    The first job starts it; `close`, or the end of the block, ends it. One process has one such engine at a time.

    Args:
        backend: Which backend answers, as `engine.backend` in docs/reference/configuration.md.
        options: Keys of [engine], e.g. model and device, and options of the backend, e.g. base_url.

    Raises:
        ConfigError: there is no such backend or option, or a value breaks a rule.
    """

    def label(self, texts: Any, labels: Any = None, **named: Any) -> Run:
        """As `xpoll.label`, on this engine.

        Raises:
            UserError: as of `xpoll.label`, or this engine is closed.
        """
        return label(texts, labels, engine=self, **named)

    def run(self, job: Job) -> Run:
        """As `Job.run`, on this engine."""
        return job.run(engine=self)


def _sections(labels: Any, question: str | None, engine: Any, further: Mapping[str, Any]) -> dict[str, Any]:
    """The job's sections, from what `label` was given."""
    options = {key: value for key, value in further.items() if key not in SECTIONS}
    sections = {key: value for key, value in further.items() if key in SECTIONS}
    for key, value in sections.items():
        if key != "teachers" and not isinstance(value, Mapping):
            raise ConfigError(f"{key} is of type {type(value).__name__}", mend=f"give a dict of the keys of [{key}]")
    if isinstance(engine, OpenEngine):
        if options or "teachers" in sections:
            what = next(iter(options), "teachers")
            raise ConfigError(f"{what} does not go with an engine that is kept", mend="xpoll.Engine(...) takes options")
        section = engine.section
    else:
        try:
            section = engine_section(engine, options)
        except ConfigError as error:
            wrong = next((key for key in options if repr(key) in error.what), None)
            if wrong is None or "did you mean" in str(error):
                raise
            raise ConfigError(f"unknown keyword {wrong!r}", mend=nearest(wrong, list(SECTIONS))) from None
    task = {**sections.get("task", {})}
    if labels is not None:
        task["labels"] = _names(labels)
    if question is not None:
        task["question"] = question
    if not task.get("labels"):
        raise ConfigError("labels are missing", mend='labels=["...", "..."], or a dict of name to description')
    return {**sections, "task": task, "engine": section}


def _names(labels: Any) -> Any:
    if isinstance(labels, str):
        raise InputError(f"labels is one string, {labels[:60]!r}", mend='give a list: ["...", "..."]')
    return dict(labels) if isinstance(labels, Mapping) else [str(each) for each in labels]


def _gold(gold: Any, text_column: str, label_column: str, id_column: str | None) -> dict[str, list[Any]]:
    """The columns of gold rows; ids are made where the texts have some and these have none."""
    wanted = {"text_column": text_column, "label_column": label_column}
    ids = {"id_column": id_column} if id_column else {}
    found = columns_of(gold, wanted, name="gold", optional=ids)
    if id_column and "id_column" not in found:
        found["id_column"] = [f"gold-{i}" for i in range(len(found["text_column"]))]
    return found


def _place(raw: dict[str, Any], handed: Mapping[str, Any], name: str | None, run_folder: str | Path | None) -> Path:
    """The run folder, which `raw` gets."""
    job = {**raw.get("job", {}), **({"name": name} if name is not None else {})}
    raw["job"] = job
    if "name" not in job:
        resolved = checked_config(Config, raw, mend=MEND).resolved()
        deciding = {key: value for key, value in resolved.items() if key not in DECIDES_NO_ANSWER}
        said = json.dumps([deciding, raw["documents"], handed], sort_keys=True, default=str).encode(
            "utf-8", "surrogatepass"
        )
        job["name"] = f"label-{hashlib.blake2b(said, digest_size=5).hexdigest()}"
    folder = Path(run_folder or job.get("run_folder") or f"runs/{job['name']}").expanduser().absolute()
    job["run_folder"] = str(folder)
    return folder


@contextmanager
def _handed_over(
    place: Path, handed: Mapping[str, Mapping[str, list[Any]]], documents: Mapping[str, Any]
) -> Iterator[None]:
    """The texts as files in the run folder, where the steps read them; a job that is refused leaves none behind."""
    if not handed:
        yield
        return
    import pyarrow as pa

    from xpoll.core.files import write_table
    from xpoll.core.run_folder import RunFolder, made_or_removed

    folder = RunFolder(place)
    with made_or_removed(place):
        try:
            for part, columns in handed.items():
                made = {
                    str(documents[keyword]): pa.array(
                        [(as_text if keyword == "text_column" else as_id)(value) for value in values], pa.string()
                    )
                    for keyword, values in columns.items()
                }
                write_table(place / f"{part}.parquet", pa.table(made))
            yield
        except BaseException:
            if not folder.config.exists():
                for part in handed:
                    (place / f"{part}.parquet").unlink(missing_ok=True)
            raise


def _run(config: Config, *, until: str, engine: OpenEngine | None, quiet: bool) -> Run:
    from xpoll.pipeline.run import whole_path

    if engine is not None and config.teachers:
        raise ConfigError("teachers do not go with an engine that is kept", mend="run the job without it")
    with as_library(quiet=quiet), engine.kept.lent() if engine is not None else nullcontext():
        folder, _ = whole_path(config, until=until)
    return Run(folder.path)

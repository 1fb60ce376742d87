"""Whether a job's vote can be held: its method and its kind of task are known, and what they need is there."""

from typing import Any

from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError
from xpoll.personas.prompts import asks_of_each
from xpoll.votes.methods.registry import METHODS, method_of
from xpoll.votes.tasks.kind import LIMITED, TaskKind
from xpoll.votes.tasks.registry import kind_of

_EXAMPLES = {"label": "label", "labels": "labels, a list", "spans": "spans, a list of {text, label}"}

MOST_QUESTIONS = 128
"""About one text: each is a request, and those of a text are asked at once."""


def require_panel(config: Config) -> None:
    """Refuses a job that polls no panel, because its rows have completions that a language model learns.

    Raises:
        ConfigError: it is such a one.
    """
    if config.student.is_generative:
        raise ConfigError(
            "a job of student.kind = 'causal-lm' has no panel, votes or labels: its rows have completions",
            mend="xpoll run, or xpoll train, xpoll evaluate and xpoll report",
        )


def check_votes(config: Config) -> None:
    """Refuses a vote that cannot be held, before anything starts.

    Raises:
        ConfigError: the method or the kind of task is not known, or lacks what it needs, or has what it does not know.
    """
    require_panel(config)
    kind, method = kind_of(config.task.kind), method_of(config.vote.method)
    _check_examples(config, kind)
    kind.check(config.task)
    wrong = [key for key in LIMITED if key not in kind.allows and _is_set(config, key)]
    reads_each = asks_of_each(config, kind.form) and "read" in kind.answers
    if method.needs_logprobs and "panel.logprobs" not in kind.allows and not (reads_each and method.of_sets):
        wrong.append("vote.method")
    if reads_each and len(config.task.labels) > MOST_QUESTIONS:
        raise ConfigError(
            f"task.labels: panel.answer = 'read' asks about each of at most {MOST_QUESTIONS} labels by itself, got "
            f"{len(config.task.labels)}",
            mend="--set panel.answer=label, or two jobs with half of the labels each",
        )
    if wrong:
        raise ConfigError(
            f"task.kind = {config.task.kind!r} knows no {', '.join(wrong)} but the default",
            mend="see docs/howto/tasks.md",
        )
    _check_pairs(config, kind)
    if config.panel.answer not in kind.answers:
        raise ConfigError(
            f"task.kind = {config.task.kind!r} cannot be asked with panel.answer = {config.panel.answer!r}",
            mend=f"--set panel.answer={sorted(kind.answers)[-1]}; see docs/howto/tasks.md",
        )
    if method.needs_content_free and not config.panel.content_free:
        raise ConfigError(
            f"vote.method = {config.vote.method!r} needs panel.content_free, set before the poll",
            mend="--set \"panel.content_free=['N/A', '[MASK]', '']\"",
        )
    if method.needs_logprobs and config.panel.logprobs is False:
        raise ConfigError(
            f"vote.method = {config.vote.method!r} reads logprobs, and panel.logprobs is false",
            mend="--set panel.logprobs=auto, before the poll",
        )


def _check_pairs(config: Config, kind: TaskKind) -> None:
    column = config.documents.text_pair_column
    if column is not None and (kind.form.example_key == "spans" or config.panel.answer == "match"):
        raise ConfigError(
            f"documents.text_pair_column = {column!r}: spans are of one text, and panel.answer = 'match' reads one",
            mend="leave it out",
        )
    for example in config.task.examples:
        if (example.text_pair is None) != (column is None):
            raise ConfigError(
                f"task.examples: an example has text_pair where documents.text_pair_column is set, and only there, see "
                f"{example.text!r}",
                mend="see docs/howto/tasks.md",
            )


def carries_logprobs(config: Config, begun: bool | None = None) -> bool:
    """Whether the answers of a run carry the labels' logprobs.

    Args:
        config: The job.
        begun: Whether those that the run has already were asked for with them; None where it has none.

    Raises:
        ConfigError: `vote.method` reads them, and the answers that are there have none.
    """
    needed = method_of(config.vote.method).needs_logprobs
    if begun is None:
        return config.panel.carries_logprobs(needed=needed)
    if needed and not begun:
        without = ", ".join(name for name, method in METHODS.items() if not method.needs_logprobs)
        raise ConfigError(
            f"vote.method = {config.vote.method!r} reads logprobs, and the poll of {config.job.run_folder} did not ask "
            f"for any; without them: {without}",
            mend="set panel.logprobs = true and poll into another job.run_folder",
        )
    return begun


def _check_examples(config: Config, kind: TaskKind) -> None:
    for example in config.task.examples:
        given = "spans" if example.spans is not None else "label" if example.labels is None else "labels"
        if given != kind.form.example_key:
            wanted = _EXAMPLES[kind.form.example_key]
            raise ConfigError(
                f"task.examples: with task.kind = {config.task.kind!r} an example has {wanted}, see {example.text!r}",
                mend="see docs/howto/tasks.md",
            )


def _is_set(config: Config, key: str) -> bool:
    """Whether a key has another value than its default, and is not switched off."""
    section_name, _, name = key.rpartition(".")
    section: Any = getattr(config, section_name) if section_name else config
    value, default = getattr(section, name), type(section).model_fields[name].default
    return value is not False and value != default

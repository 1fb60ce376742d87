"""The table of gates, in the order in which texts pass them. To add one: a file and a line."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from xpoll.core.config.file import checked_section, nearest
from xpoll.core.errors import ConfigError
from xpoll.synthesis.gates import (
    complete,
    duplicates,
    echo,
    language,
    leakage,
    length,
    near_duplicates,
    refusal,
)
from xpoll.synthesis.gates.gate import Candidate, Check, Gate

GATES: dict[str, Gate] = {
    "complete": Gate("cut off at max_tokens", complete.CompleteOptions, complete.make),
    "length": Gate("too short or too long", length.LengthOptions, length.make),
    "refusal": Gate("the model declines, offers help or speaks of itself", refusal.RefusalOptions, refusal.make),
    "echo": Gate("repeats its request", echo.EchoOptions, echo.make),
    "leakage": Gate("the label's name stands in it", leakage.LeakageOptions, leakage.make),
    "language": Gate("of another language", language.LanguageOptions, language.make, is_default=False),
    "duplicates": Gate("written before", duplicates.DuplicatesOptions, duplicates.make),
    "near_duplicates": Gate(
        "nearly the same as one before", near_duplicates.NearDuplicatesOptions, near_duplicates.make
    ),
}
"""Name of each gate; dear ones last, and those that compare texts behind those that take bad ones out."""


class NamedCheck(NamedTuple):
    """A gate of a run."""

    name: str
    check: Check


def checks_of(settings: dict[str, Any], labels: Sequence[str]) -> list[NamedCheck]:
    """The gates of a run, in order, anew.

    Args:
        settings: `synthesis.gates`.
        labels: Those of the task.

    Raises:
        ConfigError: a gate or a setting is unknown, or a gate's package is not installed.
    """
    for name in settings:
        if name not in GATES:
            raise ConfigError(f"unknown gate synthesis.gates.{name}", mend=nearest(name, list(GATES)))
    return list(_checks(settings, labels))


def _checks(settings: dict[str, Any], labels: Sequence[str]) -> Iterator[NamedCheck]:
    for name, gate in GATES.items():
        given = settings.get(name, gate.is_default)
        if given is False:
            continue
        if given is not True and not isinstance(given, dict):
            raise ConfigError(f"synthesis.gates.{name} must be a table of settings, true or false, got {given!r}")
        options = checked_section(gate.options, {} if given is True else given, f"synthesis.gates.{name}")
        yield NamedCheck(name, gate.make(options, labels))


def problem_of(candidate: Candidate, checks: Sequence[NamedCheck]) -> str | None:
    """The first gate that does not let a text pass, and why; None where all do.

    Args:
        candidate: The text.
        checks: The gates, which have seen all texts before it.
    """
    for name, check in checks:
        if (problem := check(candidate)) is not None:
            return f"{name}: {problem}"
    return None

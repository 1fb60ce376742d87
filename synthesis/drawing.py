"""Which persona writes what: the rows of a synthesis, in equal shares and the same in every session.

Row n belongs to template n mod T and is the k-th of it. Its label, and its value on each axis of the template, come
from blocks in which each of them stands once, in an order drawn from the seed: shares differ by one row at most, per
label and, within a label, per axis.
"""

import json
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from xpoll.core.config.job import Config
from xpoll.core.records import Message, Prompt
from xpoll.personas.persona import Persona
from xpoll.personas.quoting import quoted
from xpoll.synthesis.template import Template

CONTROL = "control-"
"""What the id of a text begins with that nobody in particular writes."""
NOBODY = "a person"
"""Who writes such a text."""
BEHIND_ALL = 2**40
MOST_EXAMPLES = 4
"""Examples of the task that a request shows at most: a draw of those with its label, another for each row."""


class TextRequest(NamedTuple):
    """What one text is asked for: a row of a synthesis before it has an answer.

    Attributes:
        row_id: The same in every session: template and number.
        template: Name of the template.
        persona_id: Of who writes; None where nobody in particular does, or the template begins with a text.
        persona: Its text.
        label: The label that it is written for; None where the template knows none.
        axes: Axis of the template to the value drawn.
        source: Text that the template begins with.
    """

    row_id: str
    template: str
    persona_id: str | None
    persona: str | None
    label: str | None
    axes: dict[str, str]
    source: str | None = None

    @property
    def is_control(self) -> bool:
        """Whether nobody in particular writes it."""
        return self.row_id.startswith(CONTROL)

    @property
    def axes_json(self) -> str:
        """The axes as JSON, sorted."""
        return json.dumps(self.axes, sort_keys=True, ensure_ascii=False)


class Draw(NamedTuple):
    """What rows are drawn from.

    Attributes:
        templates: Those of the job, in its order.
        personas: In an order that is a draw itself; used in turn.
        texts: What templates that begin with a text are given, in turn.
        labels: Those of the task.
        seed: `job.seed`.
    """

    templates: Sequence[Template]
    personas: Sequence[Persona]
    texts: Sequence[str]
    labels: Sequence[str]
    seed: int

    def rows(self, first: int, number: int, *, control: bool = False) -> Iterator[TextRequest]:
        """Rows `first` to `first + number - 1`, template by template, so that what a template begins with is cached."""
        for place, template in enumerate(self.templates):
            for n in range(first, first + number):
                if n % len(self.templates) == place:
                    yield self._row(template, n, control=control)

    def row_of(self, row_id: str) -> TextRequest:
        """The row of an id.

        Raises:
            ValueError: it is the id of no row of this draw.
        """
        number, control = self._place_of(row_id)
        return self._row(self.templates[number % len(self.templates)], number, control=control)

    def number_of(self, row_id: str) -> int:
        """The place of a row among all: those of personas first, then those of nobody in particular.

        Raises:
            ValueError: it is the id of no row of this draw.
        """
        number, control = self._place_of(row_id)
        return number + (BEHIND_ALL if control else 0)

    def _place_of(self, row_id: str) -> tuple[int, bool]:
        control = row_id.startswith(CONTROL)
        name, _, k = row_id.removeprefix(CONTROL).rpartition("-")
        place = [template.name for template in self.templates].index(name)
        return int(k) * len(self.templates) + place, control

    def _row(self, template: Template, n: int, *, control: bool) -> TextRequest:
        k, header = n // len(self.templates), template.header
        label, within = None, k
        if header.labelled:
            label, within = self._turn(self.labels, template.name, k), k // len(self.labels)
        axes = {
            axis: self._turn(tuple(values), f"{template.name}\x1f{label}\x1f{axis}", within)
            for axis, values in header.axes.items()
        }
        row_id = f"{CONTROL if control else ''}{template.name}-{k}"
        if header.source == "text":
            return TextRequest(row_id, template.name, None, None, label, axes, self.texts[k % len(self.texts)])
        if control:
            return TextRequest(row_id, template.name, None, None, label, axes)
        persona = self.personas[n % len(self.personas)]
        return TextRequest(row_id, template.name, persona.persona_id, persona.persona, label, axes)

    def _turn(self, values: Sequence[str], name: str, k: int) -> str:
        """The k-th of a sequence in whose blocks each value stands once."""
        block, place = divmod(k, len(values))
        return values[_shuffled(f"{self.seed}\x1f{name}\x1f{block}", len(values))[place]]


@lru_cache(maxsize=4096)
def _shuffled(seed: str, size: int) -> tuple[int, ...]:
    order = list(range(size))
    random.Random(seed).shuffle(order)
    return tuple(order)


def messages_of(row: TextRequest, template: Template, config: Config) -> tuple[Message, ...]:
    """The chat messages of a row's request.

    A body may name `persona`, `label`, `description` (of the label), `examples` (texts of `task.examples` with the
    label), `text_kind`, `text`, `quoted` (the text between fences), and each axis of the template.
    """
    task = config.task
    values: dict[str, Any] = {
        "persona": row.persona or NOBODY,
        "label": _in_words(row.label),
        "description": task.labels.get(row.label or "", "").rstrip("."),
        "examples": _drawn([each.text for each in task.examples if row.label in each.named], row.row_id, config),
        "text_kind": config.synthesis.text_kind,
        "text": row.source,
        "quoted": None if row.source is None else quoted(row.source),
        **{axis: template.header.axes[axis][value] for axis, value in row.axes.items()},
    }
    return template.messages(values)


def _drawn(examples: Sequence[str], row_id: str, config: Config) -> list[str]:
    number = min(MOST_EXAMPLES, len(examples))
    return random.Random(f"{config.job.seed}\x1f{row_id}\x1fexamples").sample(list(examples), number)


def _in_words(label: str | None) -> str | None:
    return None if label is None else label.replace("_", " ")


def prompt_of(row: TextRequest, template: Template, config: Config) -> Prompt:
    """The request for a row's text."""
    sampling = template.sampling(config.synthesis.sampling, config.engine.sampling_more)
    persona_id = row.persona_id or ""
    return Prompt(row.row_id, persona_id, 0, messages_of(row, template, config), sampling, template.answer())

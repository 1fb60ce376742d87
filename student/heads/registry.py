"""Which heads there are. To add one: a file with its `Head`, and one line in HEADS; a `TaskKind` then names it."""

from pathlib import Path
from typing import Any

from xpoll.core.errors import ModelError
from xpoll.core.files import read_json
from xpoll.student.heads.head import Head
from xpoll.student.heads.label import LABEL
from xpoll.student.heads.label_set import LABEL_SET
from xpoll.student.heads.spans import SPANS
from xpoll.student.heads.step import STEP

HEADS: dict[str, Head] = {head.name: head for head in (LABEL, STEP, LABEL_SET, SPANS)}
"""By name, as `TaskKind.head` has it."""


def head_in(student: Path) -> Head:
    """The head of a student folder, as its config.json tells it; that of one label where it does not say.

    Raises:
        ModelError: the folder holds no config.json that can be read.
    """
    mend = "train one with xpoll train"
    try:
        config: dict[str, Any] = read_json(student / "config.json")
        architecture = str((config.get("architectures") or [""])[0])
    except OSError as error:
        raise ModelError(f"{student} is no student: it holds no config.json", mend=mend) from error
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise ModelError(f"{student} is no student: its config.json cannot be read", mend=mend) from error
    for head in HEADS.values():
        typed = head.form.problem_type in (None, config.get("problem_type"))
        if architecture.endswith(f"For{head.form.architecture}") and typed:
            return head
    return LABEL

"""Unlabelled text in, a small classifier out that says how far it can be trusted.

    import xpoll

    run = xpoll.label(texts, labels=["complaint", "question", "praise"])
    run.labels.to_pandas()
    student = run.train()
    student.predict(["Where is my parcel?"])["label"]

docs/reference/python-api.md shows more. The command `xpoll` runs the same steps. Names are imported when they are first
used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpoll.core.errors import (
        ConfigError,
        EngineError,
        InputError,
        ModelError,
        RunFolderError,
        UnavailableError,
        UserError,
        XpollError,
    )
    from xpoll.jobs import Engine, Job, label
    from xpoll.result_table import ResultTable
    from xpoll.runs import Report, Run
    from xpoll.students import Student

__all__ = [
    "ConfigError",
    "Engine",
    "EngineError",
    "InputError",
    "Job",
    "ModelError",
    "Report",
    "ResultTable",
    "Run",
    "RunFolderError",
    "Student",
    "UnavailableError",
    "UserError",
    "XpollError",
    "label",
]

_PLACES = {
    "Engine": "xpoll.jobs",
    "Job": "xpoll.jobs",
    "label": "xpoll.jobs",
    "Report": "xpoll.runs",
    "ResultTable": "xpoll.result_table",
    "Run": "xpoll.runs",
    "Student": "xpoll.students",
}
"""Name to the module that has it; all others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xpoll' has no attribute {name!r}")
    found = getattr(importlib.import_module(_PLACES.get(name, "xpoll.core.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

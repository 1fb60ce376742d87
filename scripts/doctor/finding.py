"""One thing that `xpoll doctor` looked at."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, why it matters, and what to type if it is not well."""

    subject: str
    level: Level
    found: str
    why: str = ""
    mend: str = ""

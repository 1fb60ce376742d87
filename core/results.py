"""JSON files of a run folder that later steps read: typed, versioned, numbers and names only.

Sentences are made of them by what shows them. A file of another version is refused in one line.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from xpoll.core.errors import RunFolderError
from xpoll.core.files import write_json


class Result(BaseModel):
    """What a step found out; frozen, and compared by value.

    Attributes:
        VERSION: Of the fields; raised when one of them changes its name or meaning.
        STEP: Command that writes the file, for errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
    VERSION: ClassVar[int] = 1
    STEP: ClassVar[str] = "run"

    def as_json(self) -> dict[str, Any]:
        """The fields as plain JSON types, led by `schema_version`."""
        return {"schema_version": self.VERSION, **self.model_dump(mode="json")}

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all.

        Raises:
            RunFolderError: it cannot be written.
        """
        write_json(path, self.as_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote.

        Raises:
            RunFolderError: the file is missing, damaged, or of another version; the step that makes it is named.
        """
        mend = f"run the step before it: xpoll {cls.STEP}"
        if not path.exists():
            raise RunFolderError(f"{path} is not there yet", mend=mend)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            version = held.pop("schema_version", None)
            if version != cls.VERSION:
                raise RunFolderError(f"{path} is of version {version}, this xpoll reads {cls.VERSION}", mend=mend)
            return cls.model_validate(held)
        except (OSError, ValueError, AttributeError, ValidationError) as error:
            raise RunFolderError(f"{path} cannot be read: {error}", mend=mend) from error

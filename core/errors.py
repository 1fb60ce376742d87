"""Errors that the user can fix, as opposed to bugs.

    XpollError
    +-- UserError           exit code 2, one line, no traceback: what, why, what to type next
        +-- ConfigError     a key or value in the TOML or after --set
        +-- InputError      documents, gold labels, personas
        +-- ModelError      a model that cannot be found or loaded
        +-- RunFolderError  a run folder that cannot be written, or belongs to another config
        +-- EngineError     the engine did not start, or no device is left to run on

Everything else that is raised is a bug of ours and keeps its traceback.
"""


class XpollError(Exception):
    """Base class of all errors that xpoll raises on purpose."""


class UserError(XpollError):
    """Something that the user can fix. `str(error)` is the one line that the command line prints."""

    exit_code = 2

    def __init__(self, what: str, *, mend: str | None = None) -> None:
        """Makes the line `what -> mend`.

        Args:
            what: What is wrong and why; line breaks become spaces.
            mend: What the user can type or change next.
        """
        self.what = " ".join(what.split())
        super().__init__(f"{self.what} -> {mend}" if mend else self.what)


class ConfigError(UserError):
    """A key or value of the config is wrong."""


class InputError(UserError):
    """Documents, gold labels or personas cannot be used."""


class ModelError(UserError):
    """A model cannot be found, or cannot do what is asked of it."""


class RunFolderError(UserError):
    """The run folder cannot be written, or belongs to another config."""


class EngineError(UserError):
    """The engine cannot start, or no worker is left."""

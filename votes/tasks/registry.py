"""Which kinds of task there are. To add one: a file with its `TaskKind`, and one line in KINDS."""

from xpoll.core.config.file import nearest
from xpoll.core.errors import ConfigError
from xpoll.votes.tasks.kind import TaskKind
from xpoll.votes.tasks.multi import MULTI
from xpoll.votes.tasks.ordinal import ORDINAL
from xpoll.votes.tasks.single import SINGLE
from xpoll.votes.tasks.spans import SPANS

KINDS: dict[str, TaskKind] = {
    "single": SINGLE,
    "ordinal": ORDINAL,
    "multi": MULTI,
    "spans": SPANS,
}
"""Name, as `task.kind` has it, to everything that is known of the kind."""


def kind_of(name: str) -> TaskKind:
    """The kind of task of that name.

    Raises:
        ConfigError: there is none; the nearest one is named.
    """
    if name not in KINDS:
        mend = nearest(name, list(KINDS)).replace("known keys", "known kinds")
        raise ConfigError(f"task.kind: unknown kind {name!r}", mend=mend)
    return KINDS[name]

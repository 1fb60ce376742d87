"""Names the kernel as the cause where an engine fails because it was killed for memory: nobody else tells."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpoll.core.errors import EngineError
from xpoll.core.machine.cgroups import memory_kills, memory_limit_bytes
from xpoll.core.machine.environment import memory_bytes

MEND = "give it more memory, or set engine.replicas lower, or export VLLM_CPU_KVCACHE_SPACE=1"


@contextmanager
def memory_kills_named(root: Path | None = None) -> Iterator[None]:
    """An EngineError of the block says so, if the kernel killed a process of this control group for memory.

    Args:
        root: Root of the file system; /, unless given.

    Raises:
        EngineError: the block raised it.
    """
    before = memory_kills(root)
    try:
        yield
    except EngineError as error:
        if (killed := memory_kills(root) - before) > 0:
            raise EngineError(_named(killed, root, error), mend=MEND) from error
        raise


def _named(killed: int, root: Path | None, error: EngineError) -> str:
    limit = memory_limit_bytes(root)
    processes = "a process" if killed == 1 else f"{killed} processes"
    there = f"{limit / 2**30:.1f} GiB, the limit of its control group" if limit else f"{memory_bytes() / 2**30:.1f} GiB"
    return f"the kernel killed {processes} for memory: {there}; {error.what}"

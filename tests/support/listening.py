"""What processes listen on, as `ss -ltnp` shows it."""

from collections.abc import Iterable

import psutil

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def listening(processes: Iterable[psutil.Process]) -> dict[tuple[str, int], str]:
    """Address and port to process name, of all TCP sockets that the processes listen on."""
    return {
        tuple(connection.laddr): process.name()
        for process in processes
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def listening_below(pid: int) -> dict[tuple[str, int], str]:
    """As `listening`, of a process and all that it has started."""
    process = psutil.Process(pid)
    return listening([process, *process.children(recursive=True)])

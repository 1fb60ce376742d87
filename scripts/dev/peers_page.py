"""docs/peers.md: xpoll beside its peers, from the committed records of the suite `peers`."""

from pathlib import Path

from xpoll.benchmarks.workloads.peers.page import peers_page
from xpoll.core.files import read_json

BASELINES = Path(__file__).resolve().parents[2] / "benchmarks" / "baselines"


def page() -> str:
    """The page."""
    return peers_page([read_json(path) for path in sorted(BASELINES.glob("peers*.json"))])

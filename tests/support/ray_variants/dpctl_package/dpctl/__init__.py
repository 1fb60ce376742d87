"""As much of dpctl as Ray asks: how many Level Zero devices there are, and what the first is called.

Like the real one it counts what the process's mask leaves over, each tile of a card in FLAT mode.
"""

from xpoll.engine.devices.affinity import given, places
from xpoll.engine.devices.intel_cards import read_cards


class SyclContext:
    """The context of all GPUs."""

    def __init__(self, filter_string: str) -> None:
        assert filter_string == "level_zero:gpu", filter_string
        self.device_count = len(given(places(read_cards(), "FLAT")))


class SyclDevice:
    """The first GPU."""

    def __init__(self, _filter: str) -> None:
        self.name = "Intel(R) Data Center GPU Max 1100"

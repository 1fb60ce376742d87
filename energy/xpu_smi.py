"""Intel GPUs through `xpu-smi dump`, versions 1.3 and 2.x, for machines whose sysfs may not be read.

Columns are found by their header. 1.3 has "GPU Energy Consumed (J)", a counter of the device, and "GPU Power (W)".
2.x has "power.draw (W)", the mean power of the card between two lines, and "energy.consumed (J)", which counts the
compute engines alone and so is not read. Power is integrated over the time between lines, and a counter's name says
so. Lines of tiles are skipped: the device has its own line.
Sources: xpumanager v1.3.7 core/src/api/internal_dump_raw_data.cpp, v2.0.0 ial/cmn/cmd_dump.cpp and metrics/power.cpp.
"""

import csv
import shutil
import time
from collections.abc import Callable, Sequence

from xpoll.energy.counters import SourceCounters
from xpoll.energy.printed import find_printed

EVERY_S = 1.0
START_S = 15.0
ENERGY = "GPU Energy Consumed (J)"
POWERS = {"power.draw (W)": "card, power.draw integrated", "GPU Power (W)": "device, power integrated"}
"""Column of a mean power to what its integral covers."""
DEVICE, TILE = "DeviceId", "TileId"


class DumpReader:
    """Parses the lines of a dump: first a header, then one line per device and interval.

    Args:
        now_s: Monotonic clock in seconds; not the printed time, which has no date in 1.3.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._header: list[str] = []
        self._integrated: dict[str, tuple[float, float]] = {}  # joules so far, and when

    def __call__(self, line: str) -> dict[str, float]:
        """Joules by part; empty for headers, other text and lines without figures."""
        cells = [cell.strip() for cell in next(csv.reader([line]), [])]
        if DEVICE in cells:
            self._header = cells
            return {}
        if not self._header or len(cells) != len(self._header):
            return {}
        row = dict(zip(self._header, cells, strict=True))
        if row.get(TILE, "").isdigit():
            return {}
        gpu = f"gpu{row[DEVICE]}"
        energy_j = _number(row.get(ENERGY, ""))
        if energy_j is not None:
            return {f"{gpu} (device)": energy_j}
        for column, covers in POWERS.items():
            power_w = _number(row.get(column, ""))
            if power_w is not None:
                part = f"{gpu} ({covers})"
                return {part: self._integral_j(part, power_w)}
        return {}

    def _integral_j(self, part: str, power_w: float) -> float:
        now_s = self._now_s()
        before_j, before_s = self._integrated.get(part, (0.0, now_s))
        self._integrated[part] = (before_j + power_w * (now_s - before_s), now_s)
        return self._integrated[part][0]


def find_xpu_smi(command: Sequence[str] | None = None) -> SourceCounters:
    """One counter per Intel GPU that xpu-smi lists.

    Args:
        command: Command line to run instead of the installed xpu-smi.
    """
    if command is None:
        if not (tool := shutil.which("xpu-smi")):
            return SourceCounters([], "xpu-smi is not installed")
        # The spellings that both know: 2.x has no -m and no -i, 1.3 no --interval; both print once a second unasked.
        command = [tool, "dump", "-d", "-1", "--metrics", "1,8"]
    return find_printed("xpu-smi", command, DumpReader(), every_s=EVERY_S, start_s=START_S)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None

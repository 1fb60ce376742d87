"""What `xpu-smi dump` prints, line by line, by the format strings of its sources; and a tool that takes its options.

1.3: cli/src/comlet_dump.cpp of v1.3.7 (", " between cells, cells padded to four characters, "N/A" for no value), column
names in core/src/api/internal_dump_raw_data.cpp. 2.x: ial/cmn/cmd_dump.cpp of v2.0.0 (DumpOutput; ", " between cells,
"{name} ({unit})" in the header), values "{:.2f}" in ial/cmn/metrics/power.cpp.
"""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

Series = Mapping[int, Sequence[float | None]]
"""For each GPU, a figure per interval; None where the tool has none."""


def dump_1_3(powers_w: Series, energies_j: Series) -> list[str]:
    """Lines of `dump -d -1 --metrics 1,8` of xpu-smi 1.3."""

    def cell(text: str) -> str:
        return f"{text:>4}"

    lines = ["Timestamp, DeviceId, GPU Power (W), GPU Energy Consumed (J)"]
    for interval, gpu in _rows(powers_w):
        figures = (powers_w[gpu][interval], energies_j[gpu][interval])
        shown = ["N/A" if figure is None else f"{figure:.2f}" for figure in figures]
        lines.append(", ".join(map(cell, [f"06:14:{46 + interval}.000", str(gpu), *shown])))
    return lines


def dump_2(powers_w: Series, energies_j: Series) -> list[str]:
    """Lines of `dump -d -1 --metrics 1,8` of xpu-smi 2.x, where its input is no terminal."""
    lines = ["Timestamp, DeviceId, power.draw (W), energy.consumed (J)"]
    for interval, gpu in _rows(powers_w):
        figures = (powers_w[gpu][interval], energies_j[gpu][interval])
        shown = ["N/A" if figure is None else f"{figure:.2f}" for figure in figures]
        lines.append(", ".join([f"06:14:{46 + interval}.000", str(gpu), *shown]))
    return lines


def _rows(series: Series) -> list[tuple[int, int]]:
    return [(interval, gpu) for interval in range(len(next(iter(series.values())))) for gpu in series]


def printing(folder: Path, *lines: str, then: str = "time.sleep(60)") -> list[str]:
    """A command that prints lines as a tool does, and then waits or ends."""
    script = folder / "tool.py"
    body = "".join(f"print({line!r}, flush=True)\n" for line in lines)
    script.write_text(f"import time\n{body}{then}\n")
    return [sys.executable, "-I", "-S", str(script)]


OPTIONS = {
    "1.3": ("-d", "--device", "-t", "--tile", "-m", "--metrics", "-i", "-n", "--file", "--ims", "--time", "--date"),
    "2.0": (
        *("-d", "--device", "--id", "--metrics", "--select", "-f", "--file", "--filename", "--time"),
        *("--interval", "--delay", "--loop", "--number", "--count", "--format"),
    ),
}
"""Options of `dump` in comlet_dump.cpp and in cmd_dump.cpp (those without -j, --date and hidden ones of 2.0)."""


def install(folder: Path, version: str) -> Path:
    """An `xpu-smi` for the PATH: it refuses, as CLI11 does, what that version does not take, and else dumps on."""
    dump = {"1.3": dump_1_3, "2.0": dump_2}[version]
    lines = dump({0: [100.0, 200.0]}, {0: [1000.0, 1200.0]})
    tool = folder / "xpu-smi"
    tool.write_text(
        f"#!{sys.executable} -IS\n"
        + textwrap.dedent(f"""\
            import sys, time
            for option in sys.argv[2:]:
                if option.startswith("-") and not option[1:].isdigit() and option not in {OPTIONS[version]!r}:
                    print(f"The following argument was not expected: {{option}}", flush=True)
                    raise SystemExit(109)
            for line in {lines!r}:
                print(line, flush=True)
            time.sleep(60)
            """)
    )
    tool.chmod(0o755)
    return tool

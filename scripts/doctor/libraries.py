"""Where the Level Zero loader and driver lie, and which build the driver is: told by file names, nothing is loaded."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

LOADER, DRIVER = "libze_loader.so.1", "libze_intel_gpu.so.1"
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib", "usr/local/lib", "lib/x86_64-linux-gnu")


def library(name: str, root: Path, environment: Mapping[str, str]) -> Path | None:
    """The file that a process would load; None where there is none.

    Args:
        name: LOADER or DRIVER.
        root: Root of the sys file system; the libraries lie beside it.
        environment: Environment variables.
    """
    folders = [*path_folders(environment), Path(sys.prefix, "lib")]
    folders += [root.parent / folder for folder in LIBRARY_FOLDERS]
    return next((folder / name for folder in folders if (folder / name).exists()), None)


def path_folders(environment: Mapping[str, str]) -> list[Path]:
    """The folders of LD_LIBRARY_PATH."""
    return [Path(folder) for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if folder]


def driver_build(root: Path, environment: Mapping[str, str]) -> int | None:
    """The build of compute-runtime, the last part of the file that DRIVER links to; None where it is not told."""
    file = library(DRIVER, root, environment)
    found = re.fullmatch(re.escape(DRIVER) + r"\.\d+\.(\d+)", file.resolve().name) if file else None
    return int(found[1]) if found else None

"""Wheels with the names and versions of real packages and nothing in them; indexes and environments made of them."""

import sys
import zipfile
from collections.abc import Iterable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path


def wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
    """Writes a wheel whose one module says its version; returns its path."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    needed = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needed}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/INSTALLER": "pip\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in files.items():
            archive.writestr(each, text)
    return path


def installed_again(folder: Path, name: str) -> Path:
    """A wheel of what is installed under a name here, for a pip that may ask no index."""
    distribution = metadata.distribution(name)
    path = folder / f"{name}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each in distribution.files or []:
            there = Path(str(distribution.locate_file(each)))
            if there.is_file() and ".." not in each.parts and "__pycache__" not in each.parts:
                archive.write(there, str(each))
    return path


def index(folder: Path, wheels: Iterable[Path]) -> Path:
    """A package index in files, as pip and uv read them: a page for each name with links to its wheels."""
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, list[str]] = {}
    for each in wheels:
        name = each.name.partition("-")[0].replace("_", "-").lower()
        (folder / name).mkdir(exist_ok=True)
        (folder / name / each.name).write_bytes(each.read_bytes())
        pages.setdefault(name, []).append(f'<a href="{each.name.replace("+", "%2B")}">{each.name}</a>')
    for name, links in pages.items():
        (folder / name / "index.html").write_text("<!DOCTYPE html><body>" + "\n".join(links))
    return folder


def packages_of_this_environment() -> Path:
    """The folder that the packages of this environment lie in."""
    spec = find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def lay_out_environment(folder: Path, wheels: Iterable[Path], *, without: tuple[str, ...]) -> Path:
    """Fills an environment with stand-ins, and with links to all that is installed here; returns its interpreter.

    Args:
        folder: A new environment without packages.
        wheels: The stand-ins.
        without: Beginnings of names that are not linked.
    """
    (there,) = folder.glob("lib/python*/site-packages")
    for each in wheels:
        zipfile.ZipFile(each).extractall(there)
    for path in packages_of_this_environment().iterdir():
        is_left_out = path.name.lower().startswith((*without, "xpoll", "__editable__", "__pycache__"))
        if not is_left_out and path.suffix != ".pth" and not (there / path.name).exists():
            (there / path.name).symlink_to(path)
    return folder / "bin" / Path(sys.executable).name

"""Lays build/links: the rooms of this checkout where their import names say they are.

    python scripts/dev/link_tree.py

mypy reads no package-dir of pyproject.toml; it finds the rooms through the links, by `mypy_path`.
Imports nothing of xpoll.
"""

import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "build" / "links"


def lay_links() -> None:
    """Makes the links anew, for every entry of package-dir and for experiments/."""
    shutil.rmtree(LINKS, ignore_errors=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    package = LINKS / "xpoll"
    package.mkdir(parents=True)
    for file in (ROOT / folders.pop("xpoll")).iterdir():
        if file.is_file():
            (package / file.name).symlink_to(file)
    for name, folder in folders.items():
        (package / name.removeprefix("xpoll.")).symlink_to(ROOT / folder)
    (LINKS / "experiments").symlink_to(ROOT / "experiments")


if __name__ == "__main__":
    lay_links()

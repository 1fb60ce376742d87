"""Hooks of mkdocs.yml: what makes a site of pages that are written to be read on a code host as well.

Pages beside docs/ (the README, examples, experiments) are shown below project/, and so are files that pages link to;
links follow. Lists and tables may stand right behind a line of text, as they may on a code host.
"""

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/*/README.md", "experiments/**/*.md")
PROJECT = "project/"
_FENCE = re.compile(r"^( *```.*?^ *```[^\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_BEGINS = re.compile(r"(?:[*-] |\d+\. |\|)")
_GOES_ON = re.compile(r"(?:[*-] |\d+\. |\||  )")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as a code host makes them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages beside docs/, and the files that any page links to."""
    beside = sorted(path for pattern in BESIDE for path in ROOT.glob(pattern))
    pages = [*beside, *sorted((ROOT / "docs").rglob("*.md"))]
    linked = {target for page in pages for target in _linked(page) if (ROOT / target).is_file()}
    names = {str(path.relative_to(ROOT)) for path in beside} | {each for each in linked if not each.startswith("docs/")}
    for name in sorted(names):
        files.append(File.generated(config, PROJECT + name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """The text with links that lead to where a file stands in the site."""
    here = source(page.file.src_uri)
    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: _led(found, here, files), spaced(part)) for part in parts[::2]]
    return "".join(parts)


def slug(heading: str, separator: str) -> str:
    """What a code host makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def source(uri: str) -> str:
    """Path in the project of a page of the site."""
    return uri.removeprefix(PROJECT) if uri.startswith(PROJECT) else f"docs/{uri}"


def spaced(text: str) -> str:
    """The text with an empty line before each list and table."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        if _BEGINS.match(line) and before.strip() and not _GOES_ON.match(before):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _linked(page: Path) -> list[str]:
    text = "".join(_FENCE.split(page.read_text(encoding="utf-8"))[::2])
    here = str(page.relative_to(ROOT))
    return [_target(found[2], here) for found in _LINK.finditer(text) if "://" not in found[2]]


def _target(link: str, here: str) -> str:
    """Path in the project that a link of a page names."""
    return os.path.normpath(PurePosixPath(here).parent / link.partition("#")[0])


def _led(found: re.Match[str], here: str, files: Files) -> str:
    """A link of the site, or its text alone where it leads to a folder or out of the project."""
    words, link = found[1], found[2]
    if "://" in link or link.startswith(("#", "mailto:")):
        return found[0]
    target = _target(link, here)
    uri = target.removeprefix("docs/") if target.startswith("docs/") else PROJECT + target
    if files.get_file_from_path(uri) is None:
        return found[0] if target.startswith("docs/") else words
    now = PurePosixPath(here.removeprefix("docs/") if here.startswith("docs/") else PROJECT + here).parent
    anchor = "#" + link.partition("#")[2] if "#" in link else ""
    return f"[{words}]({os.path.relpath(uri, now)}{anchor})"

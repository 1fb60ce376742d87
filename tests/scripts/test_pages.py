"""What pages and workflows name is there: links and their anchors, files of the tree, targets of the Makefile."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from xpoll.scripts.cli import COMMANDS

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "experiments/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page without what stands between fences."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{named(page)} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{named(page)} links to {target}"


def tree() -> Iterator[str]:
    """Paths that the README's tree names. An indented line begins with what lies in the room above it."""
    block = README.partition("## The tree")[2].split("```text\n")[1].split("```")[0]
    room = ""
    for line in block.strip().splitlines():
        names, _, about = line.strip().partition("   ")
        if not line.startswith(" "):
            room = ""
        for name in names.split():
            yield room + name
            room = name if not line.startswith(" ") else room
        for name in re.findall(r"[\w/]+(?:\.py|/)(?![\w.])", about):
            yield (room + name) if line.startswith(" ") or not (ROOT / name).exists() else name


def test_the_tree_of_the_readme_is_the_tree() -> None:
    missing = [path for path in tree() if "NAME" not in path and not (ROOT / path).exists()]
    assert not missing


def test_the_tree_of_the_readme_has_every_room() -> None:
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert {f"{room}/" for room in rooms} <= set(tree())


def test_the_life_of_a_text_goes_through_files_that_are_there() -> None:
    life = README.partition("## Life of a text")[2].partition("## The tree")[0]
    files = re.findall(r"`([\w/]+\.py)`", life)
    assert len(files) >= 10
    assert not [file for file in files if not (ROOT / file).is_file()]


def test_the_readme_names_every_command() -> None:
    commands = README.partition("## Commands")[2].partition("\n## ")[0]
    assert not [name for name in COMMANDS if f"`{name}" not in commands and f"xpoll {name}" not in commands]


def makefile_targets() -> set[str]:
    """Targets that have a rule."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_every_phony_target_has_a_rule() -> None:
    """Make takes a phony name without a rule for a target that is up to date: exit code 0, and nothing done."""
    (phony,) = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(phony.split()) == makefile_targets()


def commands_of_pages() -> Iterator[str]:
    """What pages, hooks and workflows say to type."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    yield from (hook["entry"] for hook in hooks)
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    yield from (step["run"] for job in jobs.values() for step in job["steps"] if "run" in step)
    yield from (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    for page in PAGES:
        if page.name not in ("LOG.md", "errors.md"):
            yield from re.findall(r"(?:^|`)(make [a-z -]+)", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_target_that_is_named_anywhere_is_there() -> None:
    targets = {
        word
        for command in commands_of_pages()
        if command.startswith("make ")
        for word in command.split()[1:]
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert {"lint", "unit", "test", "test-ipex"} <= targets
    assert not targets - makefile_targets()

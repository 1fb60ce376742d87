"""The shape of the project: imports go one way, light parts stay light, files stay readable."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "core": set(),
    "examples": set(),
    "energy": {"core"},
    "personas": {"core"},
    "synthesis": {"core", "personas"},
    "engine": {"core"},
    "kernels_bench": {"core"},
    "student": {"core"},
    "votes": {"core", "personas"},
    "report": {"core", "energy", "personas", "synthesis", "engine", "votes", "student"},
    "pipeline": {"core", "energy", "personas", "synthesis", "engine", "votes", "student", "report"},
    "scripts": {
        "core",
        "energy",
        "personas",
        "synthesis",
        "engine",
        "votes",
        "student",
        "report",
        "pipeline",
        "kernels_bench",
        "benchmarks",
    },
    "benchmarks": {
        "core",
        "energy",
        "personas",
        "synthesis",
        "engine",
        "votes",
        "student",
        "report",
        "pipeline",
        "kernels_bench",
    },
}
"""Room to the rooms that it may import, which are those whose work it builds on."""
API = sorted((ROOT / "xpoll").glob("*.py"))
"""What `import xpoll` offers; it stands on top of all rooms but the command line."""
OLD_NAMES = {*MAY_IMPORT, "tests", "experiments"}
"""Top-level names that nothing of the product may import: a user's own folders may be called so."""
HEAVY = ("torch", "ray", "vllm", "transformers", "trl", "peft", "datasets")
TRAINERS = ("trl", "peft", "datasets")
"""Packages of the extra `causal-lm`, which a plain installation does not have."""


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        parts = [name.split(".") for name in imported(path)]
        rooms = {part[1] for part in parts if part[0] == "xpoll" and len(part) > 1}
        assert not (wrong := rooms - MAY_IMPORT[room] - {room}), f"{path.relative_to(ROOT)} imports {wrong}"
        assert not (old := {part[0] for part in parts} & OLD_NAMES), f"{path.relative_to(ROOT)} imports {old}"


def test_the_api_builds_on_the_rooms_and_no_room_on_the_api() -> None:
    parts = {path.stem for path in API}
    for path in API:
        used = {name.split(".")[1] for name in imported(path) if name.startswith("xpoll.")}
        allowed = parts | (MAY_IMPORT.keys() - {"benchmarks", "kernels_bench"})
        if path.stem != "__main__":
            allowed -= {"scripts"}
        assert used <= allowed, f"{path.name} imports {used - allowed}"
    for name, path in modules().items():
        if path not in API:
            used = {each.split(".")[1] for each in imported(path) if each.startswith("xpoll.")}
            assert not (wrong := used & (parts - {"__init__", "__main__"})), f"{name} imports {wrong}"


def modules() -> dict[str, Path]:
    """Import name to file, of all rooms and of the API."""
    rooms = {
        "xpoll." + ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*.py")
    }
    return rooms | {f"xpoll.{path.stem}": path for path in API}


def test_no_file_imports_itself_in_a_circle() -> None:
    files = modules()
    arrows: dict[str, set[str]] = {}
    for name, path in files.items():
        found = {each if each in files else each.rpartition(".")[0] for each in imported(path)}
        arrows[name] = {each for each in found if each in files and each != name}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(arrows[name]):
                walk(other, (*way, name))
            done.add(name)

    for name in files:
        walk(name, ())


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice, "one word per thing"


LIGHT = """
    xpoll
    xpoll.core.config.job xpoll.core.records xpoll.core.run_folder xpoll.core.tables.readers
    xpoll.votes.consensus xpoll.personas.prompts
    xpoll.engine.planning.plan
    xpoll.report.page xpoll.report.metrics xpoll.report.causal_lm
    xpoll.student.causal_lm.train xpoll.student.causal_lm.evaluate xpoll.student.causal_lm.card
    xpoll.pipeline.run
    xpoll.jobs xpoll.runs xpoll.students xpoll.engines xpoll.texts
    xpoll.scripts.cli xpoll.scripts.commands.run xpoll.scripts.commands.plan xpoll.scripts.commands.doctor
"""


def test_planning_voting_and_reporting_start_without_the_heavy_packages() -> None:
    code = f"""
import importlib, sys
for module in {LIGHT!r}.split():
    importlib.import_module(module)
    found = [name for name in {HEAVY!r} if name in sys.modules]
    assert not found, f"{{module}} imports {{found}}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.splitlines()[-1]


def test_what_only_a_generative_student_needs_is_imported_where_it_is_trained() -> None:
    floor = ROOT / "student" / "causal_lm" / "training"
    found = [
        str(path.relative_to(ROOT))
        for path in modules().values()
        if not path.is_relative_to(floor) and {name.partition(".")[0] for name in imported(path)} & {*TRAINERS}
    ]
    assert not found, "import it in student/causal_lm/training"


def test_files_stay_short_enough_to_read() -> None:
    files = [*API, *(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert not long, f"split by noun: {long}"


def test_every_package_is_listed_in_pyproject() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        ".".join(("xpoll", *path.parent.relative_to(ROOT).parts))
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert set(project["packages"]) == found | {"xpoll"}
    assert project["package-dir"] == {"xpoll": "xpoll"} | {f"xpoll.{room}": room for room in MAY_IMPORT}

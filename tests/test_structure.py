"""The shape of the project: imports go one way, light parts stay light, files stay readable."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "core": set(),
    "personas": {"core"},
    "engine": {"core"},
    "student": {"core"},
    "kernels_bench": {"core"},
    "benchmarks": {"core", "personas", "engine", "student", "kernels_bench"},
    "scripts": {"core", "personas", "engine", "student", "kernels_bench", "benchmarks"},
}
HEAVY = ("torch", "ray", "vllm", "transformers")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        wrong = imported(path) & MAY_IMPORT.keys() - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize(
    "modules",
    [
        "core.config, core.records, core.run_folder, core.tables",
        "personas.vote, personas.prompts",
        "engine.plan",
        "benchmarks.report, benchmarks.metrics",
        "scripts.cli, scripts.run, scripts.show_plan, scripts.show_doctor",
    ],
)
def test_planning_voting_and_reporting_start_without_the_heavy_packages(modules: str) -> None:
    code = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]", f"{modules} imports {done.stdout}"


def test_files_stay_short_enough_to_read() -> None:
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > 400}
    assert not long, f"split by noun: {long}"


def test_every_package_is_listed_in_pyproject() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in MAY_IMPORT
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert listed == found

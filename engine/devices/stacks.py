"""Stacks of software for Intel GPUs, from stacks.toml: which releases of vLLM, torch, kernels and driver fit."""

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

FILE = Path(__file__).with_suffix(".toml")

Version = tuple[int, ...]
StackName = Literal["modern", "lts"]


class Pairing(NamedTuple):
    """Releases of vllm-xpu-kernels up to and including `last`, and the torch they were built for."""

    last: Version
    torch: Version


@dataclass(frozen=True, slots=True)
class Stack:
    """Releases that belong together.

    Attributes:
        torch: Version of PyTorch with its local part.
        kernels: Requirement of the package that computes attention.
        python: Version of Python that its wheels are for.
        indexes: Package indexes beside PyPI; `{vllm}` stands for the version.
        vllm: The release that is installed; empty for the student's stack.
        vllm_range: Releases that the stack is good for, in words.
        triton: Requirement of the Triton that fits.
        oneapi: Version of the oneAPI runtime.
        driver: Oldest compute-runtime, as year.week.
        image: Container image with all of it.
        on_max: Who runs it on Data Center GPU Max, in words.
    """

    torch: str
    kernels: str
    python: str
    indexes: list[str] = field(default_factory=list)
    vllm: str = ""
    vllm_range: str = ""
    triton: str = ""
    oneapi: str = ""
    driver: str = ""
    image: str = ""
    on_max: str = ""

    @property
    def install(self) -> str:
        """The commands that install it into a new environment; empty where only an image has it."""
        if not (self.vllm and self.indexes):
            return ""
        return (
            f"pip install uv; uv venv --seed --python {self.python} .venv-xpu; uv pip install --python .venv-xpu "
            f'"vllm=={self.vllm}+xpu" {self._extra_indexes} --index-strategy unsafe-best-match'
        )

    @property
    def install_triton(self) -> str:
        """The command that puts its Triton in the place of another one."""
        return f'uv pip uninstall triton triton-xpu; uv pip install "{self.triton}" {self._extra_indexes}'

    @property
    def _extra_indexes(self) -> str:
        return " ".join(f"--extra-index-url {index.format(vllm=self.vllm)}" for index in self.indexes)


class NoMemory(NamedTuple):
    """Releases of the kernels that read free memory as 0 under drivers before `driver`."""

    first: Version
    last: Version
    driver: str
    driver_build: int


class Graphs(NamedTuple):
    """What XPU graphs need."""

    first_torch: str
    oneapi: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def stack(name: StackName | Literal["ipex"]) -> Stack:
    """A stack of the table; "ipex" is the student's own."""
    return Stack(**_table()["stack"][name])


def kernels_built_for(kernels: str) -> Version:
    """The torch that a release of vllm-xpu-kernels was built for, as (major, minor)."""
    pairings = [Pairing(number(each["last"]), number(each["torch"])) for each in _table()["built_for"]]
    return next((pairing.torch for pairing in pairings if number(kernels) <= pairing.last), pairings[-1].torch)


def reads_no_memory() -> NoMemory:
    """Which kernels read free memory as 0, and under which drivers."""
    held = _table()["reads_no_memory"]
    return NoMemory(number(held["first"]), number(held["last"]), held["driver"], held["driver_build"])


def first_without_ipex() -> Version:
    """The first vLLM that computes without IPEX."""
    return number(_table()["without_ipex"]["first_vllm"])


def graphs() -> Graphs:
    """What XPU graphs need."""
    return Graphs(**_table()["graphs"])


def number(version: str) -> Version:
    """The leading numbers of a version, "0.15.0rc1+xpu" as (0, 15, 0)."""
    return tuple(map(int, re.findall(r"\d+", re.match(r"[\d.]*", version)[0])))  # type: ignore[index]

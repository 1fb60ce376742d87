"""Pages, Dockerfile and requirements for Intel GPUs say what engine/devices/stacks.toml says, and how it was tried."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.test_dockerfile import steps_of
from xpoll.engine.devices.intel_products import PRODUCTS
from xpoll.engine.devices.stacks import StackName, kernels_built_for, number, reads_no_memory, stack

CLASSES = ("real", "recorded", "upstream code", "fake", "by construction")
STACKS: tuple[StackName, ...] = ("modern", "lts")
LABELS = {
    "vLLM": "vllm_range",
    "torch": "torch",
    "kernels": "kernels",
    "Triton": "triton",
    "oneAPI": "oneapi",
    "driver (compute-runtime)": "driver",
    "Python": "python",
    "image": "image",
    "who runs it on Max": "on_max",
}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(name: str, heading: str) -> Iterator[list[str]]:
    """The cells of the tables of a section, without heads."""
    section = page(name).partition(f"{heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|\s-]+", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_each_row_says_in_one_class_how_it_was_tried() -> None:
    table = list(rows("howto/intel-gpus.md", "## What was tried, and how"))[1:]
    assert len(table) > 20
    assert {row[2] for row in table} == set(CLASSES)
    told = page("howto/intel-gpus.md").partition("## What was tried, and how")[2].partition("| card or part")[0]
    assert all(f"*{name}*" in told for name in CLASSES)


def test_the_page_s_table_of_stacks_is_the_file_s() -> None:
    head, *table = rows("howto/intel-gpus.md", "## Which software")
    assert head[1:] == list(STACKS)
    shown = {label: cells for label, *cells in table}
    assert shown == {label: [getattr(stack(name), field) for name in STACKS] for label, field in LABELS.items()}


def test_the_page_s_and_the_requirements_command_is_the_one_that_doctor_prints() -> None:
    commands = stack("modern").install.split("; ")
    block = (
        page("howto/intel-gpus.md").partition("```bash\npip install uv\n")[2].partition("```")[0].replace(" \\\n ", "")
    )
    assert ["pip install uv", *block.splitlines()[:2]] == commands
    assert commands[-1] in (ROOT / "requirements/xpu.txt").read_text(encoding="utf-8")


def test_dockerfile_and_extra_take_the_table_s_releases() -> None:
    for name in STACKS:
        assert steps_of({"STACK": name})[0] == stack(name).image
    assert f'xpu = ["vllm=={stack("modern").vllm}+xpu"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "has not been seen" in (ROOT / "Dockerfile.xpu").read_text(encoding="utf-8")


def test_the_requirements_leave_to_vllm_what_a_stack_brings() -> None:
    lines = (ROOT / "requirements/xpu.txt").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[\[=<>]", line)[0] for line in lines if line and not line.startswith("#")}
    assert not names & {"torch", "vllm", "vllm-xpu-kernels", "triton", "triton-xpu"}


def test_the_table_does_not_contradict_itself() -> None:
    modern, held = stack("modern"), reads_no_memory()
    kernels = modern.kernels.partition("==")[2]
    assert kernels_built_for(kernels) == number(modern.torch)[:2]
    assert not held.first <= number(kernels) <= held.last
    assert held.driver == modern.driver
    assert number(modern.triton.partition("==")[2]) > number(stack("lts").triton.partition("==")[2])


def test_every_point_of_the_review_has_a_test_that_is_there() -> None:
    table = {
        row[0]: row for row in rows("reference/intel-upstream.md", "# Intel GPUs, held against upstream's sources")
    }
    wanted = [f"W{i}" for i in range(1, 12)] + [f"R{i}" for i in range(1, 11)]
    assert [name for name in table if name] == wanted
    of_energy = {"W4", "W5"}  # named as their rooms name them
    for name in wanted:
        files = [ROOT / path for path in table[name][3].split(", ")]
        assert name in of_energy or all(file.is_file() for file in files), name


def test_what_moved_is_said_and_the_cloud_is_not_named_as_if_it_were_there() -> None:
    text = page("howto/intel-gpus.md")
    assert "nobody that we know of" not in text
    assert "47820" in text
    assert "before 0.32 starts oneCCL even for one device" in text
    assert "3.10 to 3.12" not in text
    title, _, rest = page("howto/intel-cloud.md").partition("\n")
    assert title == "# A machine with Max 1100s in a cloud"
    assert "could not be confirmed" in rest


def test_each_step_of_the_first_hour_names_its_first_failures_with_a_remedy() -> None:
    steps = re.findall(r"^## \d\. .*$", page("howto/intel-first-hour.md"), re.MULTILINE)
    assert len(steps) == 7
    for step in steps:
        head, *failures = rows("howto/intel-first-hour.md", step)
        assert head == ["first failure", "remedy"], step
        assert failures
        assert all(failure and remedy for failure, remedy in failures), step


def test_what_the_first_hour_quotes_of_doctor_is_what_doctor_says() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "scripts/doctor").glob("*.py"))
    for words in (
        "this is the build for CUDA",
        "it was built for torch",
        "free memory reads",
        "comes first on LD_LIBRARY",
    ):
        assert words in code
        assert words in page("howto/intel-first-hour.md")


def test_the_products_of_the_page_are_in_the_table() -> None:
    names = {product.name for product in PRODUCTS.values()}
    assert {"Intel Arc Pro B65", "Intel Arc Pro B70", "Intel Crescent Island"} <= names
    assert "22.71 GiB" in page("howto/intel-gpus.md")


@pytest.mark.parametrize("script", ["aurora.pbs", "until_done.sh"])
def test_ray_on_a_cluster_is_started_without_the_shell_s_selector(script: str, tmp_path: Path) -> None:
    text = (ROOT / "scripts/cluster" / script).read_text(encoding="utf-8")
    assert "unset ONEAPI_DEVICE_SELECTOR" in text
    if script == "until_done.sh":
        root = tmp_path / "root"
        (root / ".venv/bin").mkdir(parents=True)
        (root / ".venv/bin/ray").write_text('#!/bin/sh\necho "${ONEAPI_DEVICE_SELECTOR-unset}" >>"$XPOLL_ROOT/said"\n')
        (root / ".venv/bin/python").write_text("#!/bin/sh\nexit 0\n")
        for name in ("ray", "python"):
            (root / ".venv/bin" / name).chmod(0o755)
        command = f'on() {{ "${{@:2}}"; }}; source {ROOT}/scripts/cluster/until_done.sh; start_ray a b; wait'
        environment = {
            "PATH": "/usr/bin:/bin",
            "XPOLL_ROOT": str(root),
            "XPOLL_RAY_HEAD_S": "0",
            "ONEAPI_DEVICE_SELECTOR": "opencl:gpu;level_zero:gpu",
        }
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], env=environment, check=True)
        assert set((root / "said").read_text().split()) == {"unset"}

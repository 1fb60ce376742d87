"""What xpoll takes for granted of other packages holds for what is installed, and drift in a wheel is named."""

import importlib.util
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from xpoll.scripts.dev.upstream_drift import Fact, drift, load_facts, main, open_packages

INSTALLED = Path(sysconfig.get_paths()["purelib"])
OLD = """
class Platform:
    key: str = "GPU"

class Args:
    model: str
    block_size: int = 1
    def run(self, model, *, seed): ...

LIMIT = 128
"""
FACTS = """
[[facts]]
package = "made_up"
file = "made_up/platform.py"
name = "Platform.key"
value = "GPU"
used_in = "a.py"
[[facts]]
package = "made_up"
file = "made_up/platform.py"
name = "Args"
has = ["model", "block_size", "run"]
used_in = "a.py"
[[facts]]
package = "made_up"
file = "made_up/platform.py"
name = "Args.run"
has = ["seed"]
used_in = "b.py"
[[facts]]
package = "made_up"
file = "made_up/platform.py"
name = "LIMIT"
value = 128
used_in = "b.py"
[[facts]]
package = "made_up"
file = "made_up/platform.py"
text = "LIMIT = 128"
used_in = "b.py"
"""


def wheel(folder: Path, version: str, source: str, *, file: str = "made_up/platform.py") -> Path:
    path = folder / f"made_up-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(file, source)
        archive.writestr(f"made_up-{version}.dist-info/METADATA", f"Name: made-up\nVersion: {version}\n")
    return path


def facts(folder: Path) -> Path:
    (folder / "facts.toml").write_text(FACTS)
    return folder / "facts.toml"


def test_nothing_has_moved_in_the_same_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(wheel(tmp_path, "1.0", OLD)), "--facts", str(facts(tmp_path))]) == 0
    assert capsys.readouterr().out == "5 facts hold, 0 lines above do not\n"


def test_what_has_moved_is_named_with_what_is_there_instead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = OLD.replace('"GPU"', '"XPU"').replace("block_size", "page_size").replace("seed", "rng").replace("128", "2**8")
    assert main([str(wheel(tmp_path, "2.0", new)), "--facts", str(facts(tmp_path))]) == 1
    name = "made_up-2.0-py3-none-any.whl: made_up/platform.py:"
    assert capsys.readouterr().out.splitlines() == [
        f"{name} Platform.key is 'XPU' and not 'GPU' (used in a.py)",
        f"{name} Args lacks block_size (used in a.py)",
        f"{name} Args.run lacks seed (used in b.py)",
        f"{name} LIMIT is no constant: 2 ** 8 (used in b.py)",
        f"{name} 'LIMIT = 128' is not there (used in b.py)",
        "0 facts hold, 5 lines above do not",
    ]


def test_a_file_that_is_gone_and_a_wheel_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = wheel(tmp_path, "3.0", OLD, file="made_up/other.py")
    assert main([str(moved), "--facts", str(facts(tmp_path))]) == 1
    assert capsys.readouterr().out.count("is in no such file") == 5
    assert main([str(wheel(tmp_path, "1.0", OLD))]) == 1
    assert "no fact is about it" in capsys.readouterr().out


@pytest.mark.parametrize("package", sorted({fact.package for fact in load_facts()}))
def test_the_table_holds_for_what_is_installed(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    _, read = open_packages(INSTALLED)
    assert not [str(each) for each in drift(load_facts(), {package}, read)]


def test_facts_name_the_files_that_need_them() -> None:
    assert not [fact.used_in for fact in load_facts() if not (ROOT / fact.used_in).is_file()]


def test_a_fact_says_one_thing() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Fact(package="p", file="f", name="n", value=1, has=["x"], used_in="a")

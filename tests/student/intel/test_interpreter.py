"""The environment with Intel's packages is found from any folder, as in the container, which works in /data."""

import sys
from pathlib import Path

import pytest

from xpoll.core.config.job import StudentConfig
from xpoll.student.intel.interpreter import interpreter


def test_a_relative_interpreter_is_looked_for_here_and_then_beside_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = StudentConfig().ipex_python
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "opt/xpoll/.venv"))
    assert interpreter(given) == Path(given), "named as it was given where it is nowhere"
    installed = tmp_path / "opt/xpoll" / given
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert interpreter(given) == installed
    here = tmp_path / "data" / given
    here.parent.mkdir(parents=True)
    here.touch()
    assert interpreter(given) == Path(given), "one of the folder that the job is run in comes first"
    assert interpreter("/usr/bin/python3") == Path("/usr/bin/python3")

"""[[teachers]]: each a partial override of [engine] and [panel], resolved to a job of its own."""

from pathlib import Path

import pytest

from xpoll.core.config.file import load_config
from xpoll.core.config.job import Config
from xpoll.core.config.teachers import asked_each, teachers_of
from xpoll.core.errors import ConfigError

JOB = """
[job]
run_folder = "run"
[documents]
path = "texts.csv"
[task]
labels = ["good", "bad"]
[panel]
personas = ["annotator", "auditor"]
samples = 2
[engine]
model = "big"
[engine.vllm]
max_model_len = 512
"""
TEACHERS = """
[[teachers]]
name = "big"
[[teachers]]
name = "small"
[teachers.engine]
model = "small"
vllm = {block_size = 16}
[teachers.panel]
samples = 1
[[teachers]]
name = "minilm"
engine = {backend = "encoder", model = "all-minilm-l6-v2"}
"""


def config_of(folder: Path, *overrides: str, teachers: str = TEACHERS, job: str = JOB) -> Config:
    (folder / "job.toml").write_text(job + teachers)
    return load_config(folder / "job.toml", list(overrides))


def test_a_job_without_teachers_is_its_own_only_one(tmp_path: Path) -> None:
    config = config_of(tmp_path, teachers="")
    [only] = teachers_of(config)
    assert only == (None, config)
    assert only.folder.path == Path("run")


def test_a_teacher_is_the_job_with_what_it_says_in_place(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    big, small, minilm = teachers_of(config)
    assert [teacher.folder.path for teacher in (big, small, minilm)] == [
        Path("run/teachers/big"),
        Path("run/teachers/small"),
        Path("run/teachers/minilm"),
    ]
    assert big.config.engine == config.engine
    assert big.config.panel == config.panel
    assert (small.config.engine.model, small.config.engine.backend) == ("small", "vllm")
    assert small.config.engine.table("vllm") == {"block_size": 16}, "a table of options is replaced whole"
    assert (small.config.panel.personas, small.config.panel.samples) == (["annotator", "auditor"], 1)
    assert (minilm.config.panel.answer, minilm.config.panel.asked_each) == ("match", 1)
    assert asked_each(config) == 4 + 2 + 1
    assert teachers_of(Config.model_validate(config.resolved())) == [big, small, minilm], "from a run folder, too"


def test_a_model_in_words_beside_an_encoder_job(tmp_path: Path) -> None:
    job = JOB.replace('model = "big"', 'backend = "encoder"').replace("samples = 2", "")
    job = job.replace('personas = ["annotator", "auditor"]', "")
    teachers = '[[teachers]]\nname = "a"\n[[teachers]]\nname = "b"\nengine = {backend = "vllm"}\n'
    matching, wording = teachers_of(config_of(tmp_path, teachers=teachers, job=job))
    assert (matching.config.panel.answer, wording.config.panel.answer) == ("match", "label")


@pytest.mark.parametrize(
    ("teachers", "says"),
    [
        (
            '[[teachers]]\nname = "a"\nmodel = "m"\n',
            "unknown config key teachers.model -> put model into [teachers.engine]",
        ),
        ('[[teachers]]\nname = "a/b"\n', "teachers.0.name: string should match pattern"),
        ('[[teachers]]\nname = "."\n', "teachers.0.name: string should match pattern"),
        ("[[teachers]]\n", "teachers.0.name is missing"),
        ('[[teachers]]\nname = "a"\n[[teachers]]\nname = "A"\n', "teachers: names must differ in more than case"),
    ],
)
def test_a_table_that_is_no_teacher_is_refused(tmp_path: Path, teachers: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config_of(tmp_path, teachers=teachers)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("panel = {persnas = []}", "teacher 'a': unknown config key panel.persnas -> did you mean panel.personas?"),
        ("panel = {samples = 0}", "teacher 'a': panel.samples: input should be greater than or equal to 1, got 0"),
        ("engine = {modle = 'm'}", "teacher 'a': unknown config key engine.modle -> did you mean engine.model?"),
        ("engine = {backend = 'encoder'}\npanel = {samples = 3}", "teacher 'a': panel: answer 'match' is the same"),
    ],
)
def test_a_teacher_s_mistake_names_the_teacher(tmp_path: Path, keys: str, says: str) -> None:
    config = config_of(tmp_path, teachers=f'[[teachers]]\nname = "a"\n{keys}\n')
    with pytest.raises(ConfigError) as raised:
        teachers_of(config)
    assert says in str(raised.value)


def test_what_differs_of_a_teacher_is_named_by_it(tmp_path: Path) -> None:
    before = config_of(tmp_path).resolved()
    after = config_of(tmp_path, teachers=TEACHERS.replace("samples = 1", "samples = 3").replace("minilm", "mini"))
    assert after.differences(before) == [
        "teachers.mini.engine.backend",
        "teachers.mini.engine.model",
        "teachers.mini.panel",
        "teachers.minilm.engine.backend",
        "teachers.minilm.engine.model",
        "teachers.minilm.panel",
        "teachers.small.panel.samples",
    ]

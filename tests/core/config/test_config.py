"""The config refuses what it does not know, and says what was meant."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from xpoll.core.config.file import REMOVED_KEYS, load_config
from xpoll.core.config.job import Config
from xpoll.core.errors import ConfigError

MINIMAL = '[documents]\npath = "texts.csv"\n[task]\nlabels = ["spam", "ham"]\n'


def write(tmp_path: Path, text: str = MINIMAL, name: str = "my_job.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_four_lines_are_a_whole_job(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert config.job.name == "my_job"
    assert config.job.run_folder == "runs/my_job"
    assert config.task.labels == {"spam": "", "ham": ""}


def test_overrides_win_over_the_file_and_the_last_one_over_the_first(tmp_path: Path) -> None:
    config = load_config(write(tmp_path), ["panel.samples=2", "panel.samples=3", "documents.path=other.csv"])
    assert (config.panel.samples, config.documents.path) == (3, "other.csv")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("panel.sample=3", "unknown config key panel.sample -> did you mean panel.samples?"),
        ("pannel.samples=3", "unknown config key pannel -> did you mean panel"),
        ("engine.modl=x", "did you mean engine.model?"),
        ("panel.samples=0", "panel.samples: input should be greater than or equal to 1, got 0"),
        ("panel.answer=essay", "input should be 'label', 'read', 'chain_of_thought' or 'match', got 'essay'"),
        ("panel.samples", "is not of the form section.key=value"),
        ("panel.stop=often", "panel.stop: must be 'never', 'decided' or a number between 0.5 and 1, got 'often'"),
        ("panel.stop=0.3", "panel.stop: must be 'never', 'decided' or a number between 0.5 and 1, got 0.3"),
        ("panel.logprobs=yes", "panel.logprobs: must be 'auto', true or false, got 'yes'"),
        ("vote.stop=decided", "unknown config key vote.stop -> panel.stop took its place, because the poll reads it"),
        ("engine.replays=2", "unknown config key engine.replays -> did you mean engine.replicas?"),
        ("task.labels=['only']", "labels must name at least 2 labels, got ['only']"),
        ("task.labels=['a', 'A ']", "labels must differ in more than case and spaces"),
        ('task.labels=["\\u00e9", "e\\u0301"]', "labels must differ in more than case and spaces"),
        ("task.labels=['a  b', 'A b']", "labels must differ in more than case and spaces"),
        ("task.labels=['a', 'a']", "labels must differ from each other"),
        ("task.label_priors={spam = 0.5}", "label_priors must name exactly the labels"),
        ("task.examples=[{text = 'x', label = 'eggs'}]", "label 'eggs' is not one of ['spam', 'ham']"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_names_it(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path), [override])
    assert said in str(raised.value), raised.value
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("panel.samples=3", "samples must be 1 with answer = 'read', which is the same each time, got 3"),
        ("panel.logprobs=false", "logprobs must not be false with answer = 'read', which consists of them"),
    ],
)
def test_a_read_knows_neither_several_samples_nor_no_logprobs(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path), ["panel.answer=read", override])
    assert said in str(raised.value)


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="task.labels is missing"):
        load_config(write(tmp_path, '[documents]\npath = "texts.csv"\n'))


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        load_config(write(tmp_path, "labels = [\n"))
    (texts := tmp_path / "texts.csv").write_text("id,text\n1,a\n")
    with pytest.raises(ConfigError, match=r"texts\.csv cannot be read as TOML: .* -> .*: xpoll init .*texts\.csv"):
        load_config(texts)


def test_chain_of_thought_needs_examples_with_reasons(tmp_path: Path) -> None:
    example = "task.examples=[{text = 'x', label = 'spam'}]"
    assert load_config(write(tmp_path), [example]).task.examples[0].label == "spam"
    with pytest.raises(ConfigError, match="every example needs a reason"):
        load_config(write(tmp_path), [example, "panel.answer=chain_of_thought"])


def test_differences_name_the_dotted_keys(tmp_path: Path) -> None:
    path = write(tmp_path)
    first, second = load_config(path), load_config(path, ["panel.samples=2", "engine.vllm.block_size=64"])
    assert second.differences(first.resolved()) == ["engine.vllm.block_size", "panel.samples"]
    assert first.differences(first.resolved()) == []
    before = {name: section for name, section in first.resolved().items() if name != "teachers"}
    assert first.differences(before) == [], "what an earlier version did not know had its default"
    assert first.differences({**before, "gone": {"key": 1}}) == ["gone.key", "teachers"]


def test_a_resolved_config_is_read_back_as_the_same_config(tmp_path: Path) -> None:
    config = load_config(write(tmp_path))
    assert Config.model_validate(config.resolved()) == config


def test_every_shipped_job_parses() -> None:
    root = ROOT
    jobs = [*root.glob("examples/*/*.toml"), *root.glob("configs/*.toml")]
    assert jobs
    for job in jobs:
        load_config(job)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("student.average=2", "unknown config key student.average -> it gained nothing and was removed;"),
        ("student.refine=prune", 'unknown config key student.refine -> student.recipe = "robust" leaves out votes'),
        ("student.tensorboard=true", 'student.tensorboard -> set report_to = "tensorboard" in [student.trainer]'),
        ("student.mixup=0.5", 'a recipe decides it: student.recipe = "robust", "ensemble" or the path'),
    ],
)
def test_a_key_that_was_removed_says_what_took_its_place(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path), [override])
    assert said in str(raised.value), raised.value
    assert "\n" not in str(raised.value)


def test_removed_keys_are_no_keys_and_the_student_has_few() -> None:
    sections = Config.model_fields
    for key in REMOVED_KEYS:
        section, _, name = key.partition(".")
        assert name not in sections[section].annotation.model_fields
    assert len(sections["student"].annotation.model_fields) <= 21

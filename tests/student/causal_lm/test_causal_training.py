"""A language model learns rows, is merged and measured; a training that was stopped goes on to the same weights."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from tests.student.causal_lm.conftest import rows, section, written
from xpoll.core.errors import ConfigError, InputError, ModelError
from xpoll.student.causal_lm.evaluate import change_of, evaluate_causal, perplexity, scored
from xpoll.student.causal_lm.examples import of_split
from xpoll.student.causal_lm.inference.perplexity import row_losses
from xpoll.student.causal_lm.record import CausalTraining
from xpoll.student.causal_lm.tokens import Tokens, encode
from xpoll.student.causal_lm.train import check_causal, train_causal
from xpoll.student.causal_lm.training import fine_tune
from xpoll.student.causal_lm.training.arguments import lora_config, sft_arguments
from xpoll.student.causal_lm.training.model import load_language_model
from xpoll.student.folder import is_generative, student_folder


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CausalTraining]:
    """A student of two seeds."""
    folder = tmp_path_factory.mktemp("run")
    return folder, train_causal(rows(folder), config=section(tiny, seeds=2), seed=3, output=folder / "student")


def test_training_lowers_the_held_out_perplexity_and_changes_what_is_written(
    trained: tuple[Path, CausalTraining], tiny: Path
) -> None:
    folder, _ = trained
    found = evaluate_causal(rows(folder), folder / "student", config=section(tiny, seeds=2), samples=3)
    assert found.before and found.after and found.ratio and found.ratio.ci95
    assert found.change == "better" and found.ratio.ci95[1] < 0.5
    assert found.ratio.value == pytest.approx(found.after.value / found.before.value)
    assert found.held_out_tokens == 4 * found.held_out_rows == 4 * len(of_split(rows(folder), "held_out"))
    assert len(found.seeds) == 2 and found.seeds[0] == found.after and found.seeds[1] != found.after
    assert [sample.after for sample in found.samples] == ["aye"] * 3
    assert all(sample.before != "aye" and sample.prompt.startswith("say ") for sample in found.samples)


def test_the_folder_is_a_model_that_holds_the_sum_of_base_and_lora(
    trained: tuple[Path, CausalTraining], tiny: Path
) -> None:
    student = trained[0] / "student"
    base, merged, lora = (
        load_file(path)
        for path in (
            tiny / "model.safetensors",
            student / "model.safetensors",
            student / "adapter" / "adapter_model.safetensors",
        )
    )
    name = "model.layers.0.mlp.up_proj"
    down, up = (lora[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    expected = base[f"{name}.weight"] + 2 * (up @ down)  # lora_alpha over r is 2
    torch.testing.assert_close(merged[f"{name}.weight"], expected, atol=1e-5, rtol=1e-4)
    assert merged.keys() == base.keys()
    assert AutoTokenizer.from_pretrained(student).chat_template == AutoTokenizer.from_pretrained(tiny).chat_template
    assert sorted(path.name for path in (student / "seeds").iterdir()) == ["4"]
    assert not [path for path in trained[0].iterdir() if path.name.startswith(".")], "nothing is left beside it"


def test_training_json_says_what_was_trained_on_what(trained: tuple[Path, CausalTraining], tiny: Path) -> None:
    folder, training = trained
    assert json.loads((folder / "student" / "training.json").read_text()) == training.as_json()
    train = of_split(rows(folder), "train")
    assert (training.rows, training.held_out_rows) == (len(train), 40 - len(train))
    assert training.learned_tokens == 4 * len(train) and training.sequences == len(train)
    assert training.steps == 16 == training.losses[-1].step and training.losses[0].loss > training.final_loss
    assert training.seeds == (3, 4) and training.lora["r"] == 16 and training.device == "cpu"
    weights = AutoModelForCausalLM.from_pretrained(tiny).num_parameters()
    assert training.parameters == weights


def test_a_student_that_writes_is_refused_where_labels_are_asked_for(trained: tuple[Path, CausalTraining]) -> None:
    assert is_generative(trained[0] / "student")
    with pytest.raises(ModelError, match="labels no texts -> xpoll serve"):
        student_folder(trained[0])


class _StopAfterCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint at step 6, and ends the process's training at step 9."""

    def on_step_end(self, _: object, state: object, control: object, **_more: object) -> object:
        control.should_save |= state.global_step == 6  # type: ignore[attr-defined]
        if state.global_step == 9:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return control


def test_a_training_that_was_stopped_resumes_and_ends_with_the_same_weights(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = section(tiny, lora={"r": 4, "lora_dropout": 0.1})
    with monkeypatch.context() as patched:
        patched.setattr(fine_tune, "TimedCheckpoint", _StopAfterCheckpoint)
        with pytest.raises(KeyboardInterrupt):
            train_causal(rows(tmp_path), config=config, seed=5, output=tmp_path / "student")
    assert not (tmp_path / "student").exists()
    resumed = train_causal(rows(tmp_path), config=config, seed=5, output=tmp_path / "student")
    whole = train_causal(rows(tmp_path), config=config, seed=5, output=tmp_path / "whole")
    assert (resumed.resumed_at_step, whole.resumed_at_step) == (6, 0)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("student", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert resumed.losses == whole.losses


def test_packed_rows_do_not_see_each_other(tiny: Path, tmp_path: Path) -> None:
    """One pack of rows has the loss that the rows have alone."""
    examples = written(tmp_path, *({"prompt": f"say {i}", "completion": "a" * (i + 1)} for i in range(4)), held_out=0)
    losses = {}
    for recipe in ("plain", "packed"):
        config = section(tiny, recipe=recipe, min_steps=1, batch_size=4, max_length=128, learning_rate=1e-9)
        losses[recipe] = train_causal(examples, config=config, seed=0, output=tmp_path / recipe)
    assert (losses["plain"].sequences, losses["packed"].sequences) == (4, 1)
    assert losses["packed"].losses[0].loss == pytest.approx(losses["plain"].losses[0].loss, abs=1e-4)
    base = load_language_model(str(tiny), name="tiny", precision="fp32")
    tokens = encode(base.tokenizer, examples, max_length=128).tokens
    alone = row_losses(base.model, tokens, pad=0).sum() / sum(each.learned for each in tokens)
    assert losses["packed"].losses[0].loss == pytest.approx(alone, abs=1e-4)


def test_row_losses_are_those_of_transformers_whatever_the_batch(tiny: Path) -> None:
    base = load_language_model(str(tiny), name="tiny", precision="fp32")
    rows_of = [Tokens(list(range(5, 5 + length)), start, cut=False) for length, start in ((9, 4), (30, 29), (17, 0))]
    found = row_losses(base.model, rows_of, pad=3)
    for tokens, loss in zip(rows_of, found, strict=True):
        ids = torch.tensor([tokens.ids])
        with torch.no_grad():
            mean = base.model(input_ids=ids, labels=torch.tensor([tokens.labels])).loss
        assert loss == pytest.approx(float(mean) * tokens.learned, rel=1e-4)


def test_perplexity_has_an_interval_over_rows_and_a_change_that_needs_it() -> None:
    random = np.random.default_rng(1)
    tokens = random.integers(5, 50, 200)
    before = tokens * (2 + 0.2 * random.normal(size=200))
    found = perplexity(before, tokens)
    assert found.ci95 and found.ci95[0] < found.value < found.ci95[1]
    assert found.value == pytest.approx(math.exp(before.sum() / tokens.sum()))
    assert math.log(found.ci95[1] / found.ci95[0]) == pytest.approx(2 * 1.96 * 0.2 / math.sqrt(200), rel=0.4)
    assert scored(before, [before - 0.01 * tokens], tokens).change == "better"
    assert scored(before, [before + 0.01 * tokens], tokens).change == "worse"
    noise = scored(before, [before + tokens * random.normal(size=200)], tokens)
    assert noise.change == "within noise"
    one = scored(before[:1], [before[:1] - 1], tokens[:1])
    assert one.change == "not measured" and one.after is not None and one.after.ci95 is None
    assert change_of((0.9, 1.1)) == "within noise"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lora": {"rank": 4}}, "unknown config key student.lora.rank -> "),
        ({"lora": {"task_type": "SEQ_CLS"}}, "student.lora.task_type cannot be set: it is CAUSAL_LM"),
        ({"lora": {"target_modules": "all-linear", "layers_to_transform": [1]}}, "student.lora: "),
        ({"trainer": {"weight_decy": 1}}, "did you mean student.trainer.weight_decay?"),
        ({"trainer": {"completion_only_loss": False}}, "completions are learned, and nothing else"),
        ({"trainer": {"max_length": 8}}, "it is student.max_length"),
        ({"trainer": {"packing": 1}}, "student.trainer.packing must be true or false, got 1"),
        ({"trainer": {"packing": True, "packing_strategy": "wrapped"}}, "rows see each other"),
        ({"devices": 2}, "student.devices is 2, and a causal-lm trains on one"),
    ],
)
def test_a_wrong_table_is_one_line_before_training(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_causal(section(tmp_path, **changes))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_tables_are_passed_on(tmp_path: Path) -> None:
    config = check_causal(section(tmp_path, lora={"r": 3}, trainer={"gradient_accumulation_steps": 2}))
    assert lora_config(config).r == 3
    made = sft_arguments(config, "bf16", seed=9, sequences=64, checkpoints=tmp_path)
    assert (made.gradient_accumulation_steps, made.seed, made.bf16, made.packing) == (2, 9, True, False)
    assert made.num_train_epochs == 4, "one pass of 64 rows is 4 steps of 2 batches of 8, and 16 are wanted"
    assert {field.name for field in dataclasses.fields(made)} >= {"completion_only_loss", "packing"}


def test_bf16_trains_lora_weights_that_stay_in_fp32(tiny: Path, tmp_path: Path) -> None:
    config = section(tiny, precision="bf16", min_steps=4)
    made = train_causal(rows(tmp_path), config=config, seed=0, output=tmp_path / "student")
    assert made.precision == "bf16" and made.losses[-1].loss < made.losses[0].loss
    lora = load_file(tmp_path / "student/adapter/adapter_model.safetensors")
    assert {weight.dtype for weight in lora.values()} == {torch.float32}
    assert load_file(tmp_path / "student/model.safetensors")["model.norm.weight"].dtype == torch.float32, "as the base"
    found = evaluate_causal(rows(tmp_path), tmp_path / "student", config=config)
    assert found.change == "better"


def test_nothing_is_measured_where_no_row_is_held_out(tiny: Path, tmp_path: Path) -> None:
    examples = written(tmp_path, {"prompt": "p", "completion": "c"}, held_out=0)
    config = section(tiny, min_steps=1, held_out=0)
    train_causal(examples, config=config, seed=0, output=tmp_path / "student")
    found = evaluate_causal(examples, tmp_path / "student", config=config)
    assert (found.held_out_rows, found.before, found.change, found.samples) == (0, None, "not measured", ())


def test_rows_that_leave_no_room_are_refused_and_nothing_is_written(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row can be trained on; the first: row '0': its prompt has"):
        train_causal(rows(tmp_path), config=section(tiny, max_length=8), seed=0, output=tmp_path / "student")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_layer_that_the_model_does_not_have_is_one_line(tiny: Path, tmp_path: Path) -> None:
    config = section(tiny, lora={"target_modules": ["qkv"]})
    with pytest.raises(ModelError, match="student.lora does not fit the model: .*qkv"):
        train_causal(rows(tmp_path), config=config, seed=0, output=tmp_path / "student")


def test_training_that_diverges_is_an_error_and_writes_nothing(tiny: Path, tmp_path: Path) -> None:
    config = section(tiny, learning_rate=1e30)
    with pytest.raises(ModelError, match="training diverged"):
        train_causal(rows(tmp_path), config=config, seed=0, output=tmp_path / "student")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]

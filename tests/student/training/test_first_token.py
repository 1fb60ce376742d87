"""The last layer at the first token alone gives what the whole layer gives."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from xpoll.student.training import first_token
from xpoll.student.training.first_token import MODEL_TYPES, last_layer_at_first_token, shorten_last_layer

CONFIGS = {
    made.model_type: made for made in (BertConfig, CamembertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig)
}
SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
IDS = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
MASKS = {
    "no padding": torch.ones(3, 9, dtype=torch.long),
    "padding": (torch.arange(9)[None] < torch.tensor([[9], [4], [1]])).long(),
}


def model_of(model_type: str, implementation: str = "sdpa") -> torch.nn.Module:
    torch.manual_seed(0)
    config = CONFIGS[model_type](**SMALL, num_labels=3, attn_implementation=implementation)
    return AutoModelForSequenceClassification.from_config(config).eval()


def logits(model: torch.nn.Module, mask: torch.Tensor) -> torch.Tensor:
    return model(input_ids=IDS, attention_mask=mask).logits


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_logits_and_gradients_are_the_same(model_type: str, implementation: str, mask: torch.Tensor) -> None:
    model = model_of(model_type, implementation)
    whole = logits(model, mask)
    whole.logsumexp(1).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    with last_layer_at_first_token(model):
        short = logits(model, mask)
        short.logsumexp(1).sum().backward()
    torch.testing.assert_close(short, whole, atol=1e-6, rtol=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-6, rtol=1e-4)


def test_the_last_layer_has_one_token_within_the_block_and_all_behind_it() -> None:
    model = model_of("bert")
    with last_layer_at_first_token(model):
        assert model.bert(input_ids=IDS).last_hidden_state.shape == (3, 1, 32)
    assert model.bert(input_ids=IDS).last_hidden_state.shape == (3, 9, 32)


def test_an_error_within_the_block_leaves_the_whole_layer() -> None:
    model = model_of("bert")
    with pytest.raises(ZeroDivisionError), last_layer_at_first_token(model):
        raise ZeroDivisionError
    assert model.bert(input_ids=IDS).last_hidden_state.shape == (3, 9, 32)


def test_dropout_drops_in_training() -> None:
    model = model_of("bert").train()
    with last_layer_at_first_token(model):
        assert not torch.equal(logits(model, MASKS["padding"]), logits(model, MASKS["padding"]))


def test_bf16_autocast_takes_the_mask_that_eager_attention_makes() -> None:
    model = model_of("bert", "eager")
    with last_layer_at_first_token(model), torch.autocast("cpu", torch.bfloat16):
        short = logits(model, MASKS["padding"])
    torch.testing.assert_close(short.float(), logits(model, MASKS["padding"]), atol=0.02, rtol=0.02)


def test_a_model_of_another_kind_stays_as_it_is() -> None:
    config = DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=3)
    other = AutoModelForSequenceClassification.from_config(config)
    assert shorten_last_layer(other) is None
    with last_layer_at_first_token(other):
        assert other.distilbert(input_ids=IDS).last_hidden_state.shape == (3, 9, 32)


def test_layers_of_transformers_4_return_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_token, "_RETURNS_TUPLES", True)
    layer = shorten_last_layer(model_of("roberta"))
    (states,) = layer(torch.zeros(2, 5, 32))
    assert states.shape == (2, 1, 32)

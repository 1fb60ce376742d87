"""Training the embeddings of the tokens that occur is training all of them, the others aside."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, RobertaConfig

from xpoll.student.training.used_tokens import used_tokens_alone

SMALL = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXTS = [[2, 9, 31, 3], [2, 44, 9, 9, 9, 3], [2, 3]]
OTHERS = sorted({*range(50)} - {1, *(token for text in TEXTS for token in text)})
PAD = 1


def model_of(config: type) -> torch.nn.Module:
    torch.manual_seed(0)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    made = AutoModelForSequenceClassification.from_config(config(**SMALL, **dropout, num_labels=3, pad_token_id=PAD))
    return made.train()


def train(model: torch.nn.Module, weight_decay: float = 0.0) -> torch.Tensor:
    """Three steps on the texts; the last logits."""
    longest = max(map(len, TEXTS))
    ids = torch.tensor([[*text, *[PAD] * (longest - len(text))] for text in TEXTS])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=weight_decay)
    for _ in range(3):
        logits = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
        optimizer.step()
        optimizer.zero_grad()
    return logits.detach()


@pytest.mark.parametrize("config", [BertConfig, RobertaConfig])
def test_training_gives_the_same_weights_as_with_all_embeddings(config: type) -> None:
    whole, short = model_of(config), model_of(config)
    names = list(short.state_dict())
    expected = train(whole)
    with used_tokens_alone(short, TEXTS, pad=PAD):
        assert short.get_input_embeddings().weight.shape == (50 - len(OTHERS), 32)
        found = train(short)
    torch.testing.assert_close(found, expected)
    assert list(short.state_dict()) == names
    for name, weights in whole.state_dict().items():
        torch.testing.assert_close(short.state_dict()[name], weights)


def test_other_tokens_keep_their_embeddings_where_weight_decay_would_shrink_them() -> None:
    whole, short = model_of(BertConfig), model_of(BertConfig)
    before = short.get_input_embeddings().weight.detach().clone()
    train(whole, weight_decay=0.1)
    with used_tokens_alone(short, TEXTS, pad=PAD):
        train(short, weight_decay=0.1)
    after = short.get_input_embeddings().weight
    assert torch.equal(after[OTHERS], before[OTHERS])
    assert not torch.equal(whole.get_input_embeddings().weight[OTHERS], before[OTHERS])
    assert not torch.equal(after[9], before[9])


def test_a_token_that_was_not_named_is_an_error_and_what_was_trained_is_kept() -> None:
    model = model_of(BertConfig)
    before = model.get_input_embeddings().weight.detach().clone()
    with pytest.raises(IndexError), used_tokens_alone(model, TEXTS, pad=PAD):
        train(model)
        model(input_ids=torch.tensor([[2, OTHERS[0], 3]]))
    assert not torch.equal(model.get_input_embeddings().weight[9], before[9])


def test_frozen_embeddings_stay_as_they_are() -> None:
    model = model_of(BertConfig)
    model.get_input_embeddings().requires_grad_(False)
    whole = model.get_input_embeddings()
    with used_tokens_alone(model, TEXTS, pad=PAD):
        assert model.get_input_embeddings() is whole

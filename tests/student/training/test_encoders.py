"""Encoders of other builds than BERT and RoBERTa train, are saved and predict: tiny ones of random weights."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.toy import FILLERS, LABELS, TELLING, documents, settings
from xpoll.student.calibration import softmax
from xpoll.student.inference.logits import logits
from xpoll.student.inference.model import StudentModel
from xpoll.student.train import train_student
from xpoll.student.training.encoder import load_for_training

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = [*TELLING.values(), *FILLERS]


def tokenizer_with(begin: str, end: str, folder: Path, *, pad: str = "[PAD]", unknown: str = "[UNK]") -> int:
    """A fast tokenizer of whole words between two marks; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = list(dict.fromkeys([pad, unknown, begin, end, "[MASK]", *WORDS]))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(begin, vocabulary[begin]), (end, vocabulary[end])]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=f"{begin} $A {end} $B:1 {end}:1", special_tokens=ends
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, unk_token=unknown, cls_token=begin, sep_token=end, mask_token="[MASK]"
    )
    fast.save_pretrained(folder)
    return len(vocabulary)


def make_modernbert(folder: Path, *, pooling: str = "cls") -> None:
    from transformers import ModernBertConfig, ModernBertModel

    size = tokenizer_with("[CLS]", "[SEP]", folder)
    ids = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    ModernBertModel(
        ModernBertConfig(
            vocab_size=size,
            max_position_embeddings=64,
            local_attention=8,
            initializer_range=0.1,
            classifier_pooling=pooling,
            **ids,
            **SMALL,
        )
    ).save_pretrained(folder)


def make_eurobert(folder: Path) -> None:
    from transformers import EuroBertConfig, EuroBertModel

    size = tokenizer_with("[CLS]", "[SEP]", folder)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4}
    EuroBertModel(
        EuroBertConfig(
            vocab_size=size,
            max_position_embeddings=64,
            num_key_value_heads=1,
            initializer_range=0.1,
            classifier_pooling="late",
            **ids,
            **SMALL,
        )
    ).save_pretrained(folder)


def make_nomic_bert(folder: Path) -> None:
    from transformers import NomicBertConfig, NomicBertModel

    size = tokenizer_with("[CLS]", "[SEP]", folder)
    NomicBertModel(
        NomicBertConfig(vocab_size=size, max_position_embeddings=64, initializer_range=0.1, pad_token_id=0, **SMALL)
    ).save_pretrained(folder)


def make_deberta_v3(folder: Path) -> None:
    from transformers import DebertaV2Config, DebertaV2Model

    size = tokenizer_with("[CLS]", "[SEP]", folder)
    relative: dict[str, Any] = {
        "relative_attention": True,
        "position_buckets": 8,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    }
    DebertaV2Model(
        DebertaV2Config(
            vocab_size=size, max_position_embeddings=64, initializer_range=0.1, pad_token_id=0, **relative, **SMALL
        )
    ).save_pretrained(folder)


def make_distilbert(folder: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    size = tokenizer_with("[CLS]", "[SEP]", folder)
    DistilBertModel(
        DistilBertConfig(
            vocab_size=size,
            dim=32,
            hidden_dim=48,
            n_layers=2,
            n_heads=2,
            max_position_embeddings=64,
            initializer_range=0.1,
        )
    ).save_pretrained(folder)


def make_xlm_roberta(folder: Path) -> None:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    size = tokenizer_with("<s>", "</s>", folder, pad="<pad>", unknown="<unk>")
    XLMRobertaModel(
        XLMRobertaConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=0, initializer_range=0.1, **SMALL)
    ).save_pretrained(folder)


MAKERS = {
    "modernbert": make_modernbert,
    "modernbert, mean of tokens": partial(make_modernbert, pooling="mean"),
    "eurobert": make_eurobert,
    "nomic-bert": make_nomic_bert,
    "deberta-v3": make_deberta_v3,
    "distilbert": make_distilbert,
    "xlm-roberta": make_xlm_roberta,
}


TRAINED = ("modernbert", "eurobert", "deberta-v3", "distilbert", "xlm-roberta")
"""Builds that differ enough for a training of each; the others' forward pass is looked at alone."""


@pytest.mark.parametrize("build", [build for build in MAKERS if build not in TRAINED])
def test_padding_changes_nothing_and_a_saved_student_answers_the_same(build: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    MAKERS[build](tmp_path / "encoder")
    made = load_for_training(settings(tmp_path / "encoder"), LABELS, seed=0)
    made.model.save_pretrained(tmp_path / "student")
    made.tokenizer.save_pretrained(tmp_path / "student")
    made.model.eval()
    texts = [row.text for row in documents(6, seed=9)]
    alone = np.concatenate([logits(made, [text]) for text in texts])
    assert np.ptp(alone, axis=0).max() > 1e-3, "it tells texts apart"
    np.testing.assert_allclose(logits(made, texts), alone, atol=1e-4)
    saved = StudentModel(tmp_path / "student").probabilities(texts)
    np.testing.assert_allclose(saved, softmax(alone, 1.0), atol=1e-4)


@pytest.mark.parametrize("build", TRAINED)
def test_an_encoder_of_another_build_is_trained_saved_and_predicts(build: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    MAKERS[build](tmp_path / "encoder")
    config = settings(tmp_path / "encoder", epochs=6, learning_rate=5e-3, held_out=0.0)
    training = train_student(documents(90), LABELS, config=config, seed=0, output=tmp_path / "student")
    student = StudentModel(tmp_path / "student")
    unseen = documents(30, seed=9)
    found = student.probabilities([row.text for row in unseen])
    alone = np.concatenate([student.probabilities([row.text]) for row in unseen[:6]])
    np.testing.assert_allclose(found[:6], alone, atol=1e-4, err_msg="padding changes nothing")
    right = np.mean([LABELS[best] == row.label for best, row in zip(found.argmax(1), unseen, strict=True)])
    assert training.final_loss < 0.9 < np.log(3), "it has learned"
    assert right > 0.6, f"chance is a third, it has {right}"

"""Loads encoders and students through Transformers, and turns what can go wrong into one line."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from xpoll.core.config.job import StudentConfig
from xpoll.core.errors import ConfigError, ModelError
from xpoll.core.models import resolve_model
from xpoll.core.pairs import parts_of
from xpoll.core.progress import Waiting
from xpoll.student.heads.form import ONE_LABEL, HeadForm

PAIRS = "text_pairs"
"""Key of a student's config.json: whether its texts are pairs."""


class Encoder(NamedTuple):
    """A tokenizer and a classification model, of texts or of their tokens, that belong together."""

    tokenizer: Any
    model: Any

    def encoded(self, texts: Sequence[str], **more: Any) -> Any:
        """Token ids and masks of each text, cut where it is too long; of a student of pairs both texts as such.

        Args:
            texts: The texts.
            more: Further arguments of the tokenizer.
        """
        if not reads_pairs(self.model):
            return self.tokenizer(list(texts), truncation=True, **more)
        first, second = zip(*map(parts_of, texts), strict=True)
        return self.tokenizer(list(first), list(second), truncation=True, **more)


def reads_pairs(model: Any) -> bool:
    """Whether a model was trained on pairs of texts (core/pairs.py)."""
    return bool(getattr(model.config, PAIRS, False))


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Transformers' own bars and notes off the terminal within the block."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def load_for_training(
    config: StudentConfig,
    labels: Sequence[str],
    *,
    seed: int,
    dropout: float | None = None,
    form: HeadForm = ONE_LABEL,
    pairs: bool = False,
) -> Encoder:
    """The encoder named by the config, with a new classification head for `labels`.

    Args:
        config: Names the encoder and the longest text.
        labels: The task's labels in their order.
        seed: Seed of the head's first weights.
        dropout: Share of activations dropped while training; the encoder's own without it.
        form: Which head the encoder gets.
        pairs: Whether its texts are pairs.

    Raises:
        ModelError: the encoder cannot be found or loaded.
        ConfigError: student.max_length is more than the encoder has positions for.
    """
    folder, outputs = resolve_model(config.encoder, key="student.encoder"), form.outputs(labels)
    with Waiting(f"loading encoder {config.encoder}", usual_s=10), quiet():
        from transformers import set_seed

        set_seed(seed)
        encoder, loading = _load(
            folder,
            name=f"student.encoder: {config.encoder}",
            architecture=form.architecture,
            num_labels=len(outputs),
            id2label=dict(enumerate(outputs)),
            label2id={name: i for i, name in enumerate(outputs)},
            problem_type=form.problem_type,
            ignore_mismatched_sizes=True,  # a head for other labels is replaced
            **_dropouts(folder, dropout),
        )
    _check_body(encoder.model, loading, config.encoder)
    longest = num_positions(encoder.model)
    if longest is not None and config.max_length > longest:
        raise ConfigError(
            f"student.max_length is {config.max_length}, and {config.encoder} reads at most {longest} tokens",
            mend=f"--set student.max_length={longest}",
        )
    encoder.tokenizer.model_max_length = config.max_length
    if pairs:
        setattr(encoder.model.config, PAIRS, True)
    return encoder


def load_student(folder: str, *, architecture: str = ONE_LABEL.architecture) -> Encoder:
    """A fine-tuned model as it was saved, in eval mode.

    Args:
        folder: Student folder.
        architecture: That of its head.

    Raises:
        ModelError: it cannot be loaded, or has no trained head.
    """
    with Waiting(f"loading student {folder}", usual_s=10), quiet():
        encoder, loading = _load(folder, name=f"student {folder}", architecture=architecture)
    if loading["missing_keys"]:
        raise ModelError(f"student {folder} has no trained classification head", mend="train one with xpoll train")
    encoder.model.eval()
    return encoder


def num_positions(model: Any) -> int | None:
    """Most tokens the model has learned positions for, or None where positions are not learned."""
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return None
    # RoBERTa counts positions from behind the padding index, so 514 of them read 512 tokens.
    unused = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(table.num_embeddings) - unused


def _load(folder: str, *, name: str, architecture: str, **arguments: Any) -> tuple[Encoder, dict[str, Any]]:
    import torch
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model, loading = getattr(transformers, f"AutoModelFor{architecture}").from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **arguments,
        )
    except Exception as error:  # Transformers raises a different type for each kind of broken folder
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{name} cannot be loaded: {reason}", mend="name a folder or hub model of an encoder"
        ) from error
    if tokenizer.pad_token is None:
        raise ModelError(f"{name} has no padding token, so it is no encoder", mend="name an encoder, e.g. RoBERTa")
    return Encoder(tokenizer, model), loading


DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout", "attention_dropout")
"""What the configs of encoders call their dropout."""


def _dropouts(folder: str, share: float | None) -> dict[str, float]:
    """The keys of an encoder's config that say how much is dropped, set to `share`; none where it is None."""
    if share is None:
        return {}
    from transformers import AutoConfig

    known = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return {name: share for name in DROPOUTS if hasattr(known, name)}


def _check_body(model: Any, loading: dict[str, Any], name: str) -> None:
    """Transformers fills weights that the folder lacks with noise; only a head and a pooler may be new."""
    new = [*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])]
    lacking = [key for key in new if key.startswith(f"{model.base_model_prefix}.") and "pooler" not in key]
    if lacking:
        raise ModelError(
            f"student.encoder: {name} holds no weights for {len(lacking)} of the encoder's tensors, e.g. {lacking[0]}",
            mend="name a folder with the encoder's weights",
        )

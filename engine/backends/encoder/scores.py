"""Texts and labels to scores, in batches of like length. Imports torch: import it where it is needed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from xpoll.core.records import AnswerSchema
from xpoll.engine.backends.encoder.model import TextEncoder
from xpoll.engine.backends.encoder.options import TEMPERATURES, EncoderOptions, worded_labels

Forward = Callable[[Any], torch.Tensor]
"""From a padded batch on the device to one row per input."""


class LabelScores(NamedTuple):
    """How well labels match texts.

    Attributes:
        logprobs: (texts, labels) float32, natural logarithms; each row's probabilities sum to 1.
        tokens: (texts,) input tokens that were computed for a text, those of its labels included.
    """

    logprobs: np.ndarray
    tokens: np.ndarray


class LabelScorer:
    """Scores the labels of an answer schema for texts.

    Similarity is the cosine of mean-pooled embeddings (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019), for a label
    with examples to the mean of its own and theirs (Snell et al., "Prototypical Networks", NeurIPS 2017);
    entailment the logit of that class (Yin et al., "Benchmarking Zero-shot Text Classification", EMNLP 2019);
    rerank the single logit of a cross-encoder (Nogueira and Cho, "Passage Re-ranking with BERT", 2019).

    Args:
        encoder: The model.
        options: `[engine.encoder]`.
    """

    def __init__(self, encoder: TextEncoder, options: EncoderOptions) -> None:
        self._encoder, self._options = encoder, options
        self._temperature = options.temperature or TEMPERATURES[encoder.scoring]
        self._vectors: dict[AnswerSchema, torch.Tensor] = {}

    def inputs_each(self, answer: AnswerSchema) -> int:
        """How many inputs a text is to the model: one, or one per label where they are read together."""
        return 1 if self._encoder.scoring == "similarity" else len(answer.choices)

    def __call__(self, texts: Sequence[str], answer: AnswerSchema) -> LabelScores:
        """The labels' scores of each text, in input order.

        Args:
            texts: At least one.
            answer: Its choices are the labels.
        """
        filled = [self._options.text_template.format(text=text) for text in texts]
        with torch.inference_mode():
            scores, tokens = (self._similarity if self._encoder.scoring == "similarity" else self._pairs)(
                filled, answer
            )
        logprobs = torch.log_softmax(scores / self._temperature, 1)
        return LabelScores(logprobs.float().cpu().numpy(), tokens)

    def _similarity(self, texts: Sequence[str], answer: AnswerSchema) -> tuple[torch.Tensor, np.ndarray]:
        vectors, tokens = self._computed(self._tokenised(texts), self._embeddings)
        return vectors @ self._label_vectors(answer).T, tokens

    def _label_vectors(self, answer: AnswerSchema) -> torch.Tensor:
        """(labels, width), rows of length 1, computed once per schema: the mean of a label and of its examples."""
        if answer not in self._vectors:
            examples = answer.examples or ((),) * len(answer.choices)
            texts = [self._options.text_template.format(text=text) for label in examples for text in label]
            vectors, _ = self._computed(self._tokenised([*self._worded(answer), *texts]), self._embeddings)
            own = torch.arange(len(answer.choices)).repeat_interleave(torch.tensor(list(map(len, examples))))
            rows = torch.cat([torch.arange(len(answer.choices)), own]).to(vectors.device)
            sums = torch.zeros_like(vectors[: len(answer.choices)]).index_add_(0, rows, vectors)
            self._vectors[answer] = torch.nn.functional.normalize(sums, dim=1)
        return self._vectors[answer]

    def _pairs(self, texts: Sequence[str], answer: AnswerSchema) -> tuple[torch.Tensor, np.ndarray]:
        labels = self._worded(answer)
        first = [text for text in texts for _ in labels]
        found, tokens = self._computed(self._tokenised(first, labels * len(texts)), self._logit)
        shape = len(texts), len(labels)
        return found.reshape(shape), tokens.reshape(shape).sum(1)

    def _worded(self, answer: AnswerSchema) -> list[str]:
        template = self._options.label_template
        return worded_labels(answer.choices, answer.descriptions, self._encoder.scoring, template)

    def _tokenised(self, texts: Sequence[str], labels: Sequence[str] | None = None) -> Any:
        """Token ids of each text, or of each text with its label, of which only the text is cut."""
        second = {} if labels is None else {"text_pair": list(labels)}
        cut = True if labels is None else "only_first"
        return self._encoder.tokenizer(list(texts), **second, truncation=cut, max_length=self._encoder.longest)

    def _computed(self, inputs: Any, forward: Forward) -> tuple[torch.Tensor, np.ndarray]:
        """One row per input in their order, and the tokens of each; inputs of like length share a batch."""
        tokens = np.array([len(ids) for ids in inputs["input_ids"]])
        by_length = np.argsort(tokens, kind="stable")
        rows = []
        for start in range(0, len(by_length), self._options.batch_size):
            numbers = by_length[start : start + self._options.batch_size]
            columns = {name: [column[i] for i in numbers] for name, column in inputs.items()}
            rows.append(forward(self._encoder.tokenizer.pad(columns, return_tensors="pt").to(self._encoder.device)))
        back = torch.from_numpy(np.argsort(by_length)).to(self._encoder.device)
        return torch.cat(rows)[back], tokens

    def _embeddings(self, batch: Any) -> torch.Tensor:
        """(inputs, width), rows of length 1."""
        states, mask = self._encoder.model(**batch).last_hidden_state, batch["attention_mask"]
        match self._encoder.pooling:
            case "mean":
                pooled = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            case "cls":
                pooled = states[:, 0]
            case _:
                last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
                pooled = states[torch.arange(len(last), device=mask.device), last]
        return torch.nn.functional.normalize(pooled, dim=1)

    def _logit(self, batch: Any) -> torch.Tensor:
        """(inputs,): the logit of entailment, or the only one."""
        logits: torch.Tensor = self._encoder.model(**batch).logits
        return logits[:, self._encoder.entailment]

"""Shapes of the layers of served models.

Source: each model's config.json on the Hugging Face hub.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One layer of a transformer.

    Attributes:
        hidden: Width of the hidden state.
        heads: Number of query heads.
        kv_heads: Number of heads of keys and values.
        head_dim: Width of a head.
        intermediate: Width of the feed-forward part.
        vocab: Size of the vocabulary.
        gated: Whether the feed-forward part is gated (SiLU of one half times the other).
        experts: Number of experts of the feed-forward part; 1 without experts.
        active: Number of experts per token.
        layers: Number of such layers in the model.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    gated: bool = True
    experts: int = 1
    active: int = 1
    layers: int = 1

    @property
    def gemms(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each matrix by name; those of one expert where there are several."""
        return {
            "qkv": (self.hidden, (self.heads + 2 * self.kv_heads) * self.head_dim),
            "out": (self.heads * self.head_dim, self.hidden),
            "up": (self.hidden, self.intermediate * (2 if self.gated else 1)),
            "down": (self.intermediate, self.hidden),
            "logits": (self.hidden, self.vocab),
        }

    def tokens_of(self, gemm: str, tokens: int) -> int:
        """Rows of a matrix's input; one expert's share of them where there are experts.

        Args:
            gemm: Name of the matrix.
            tokens: Tokens in the batch.
        """
        if gemm in ("up", "down"):
            return max(1, tokens * self.active // self.experts)
        return tokens


SHAPES = {
    "llama-3.1-8b": LayerShape(4096, 32, 8, 128, 14336, 128256, layers=32),
    "qwen2.5-7b": LayerShape(3584, 28, 4, 128, 18944, 152064, layers=28),
    "mixtral-8x7b": LayerShape(4096, 32, 8, 128, 14336, 32000, experts=8, active=2, layers=32),
    "smollm2-135m": LayerShape(576, 9, 3, 64, 1536, 49152, layers=30),
    "roberta-base": LayerShape(768, 12, 12, 64, 3072, 50265, gated=False, layers=12),
}

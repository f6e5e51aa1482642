"""TransformerBlock: what the small attention models of the workloads are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each on normalised inputs and added to them.

    Args:
        heads: Attention heads; they divide ``width``.
        width: Size of a token's representation.
        dropout: Share of activations dropped in training.
        causal: Whether a token sees itself and those before it only.
    """

    def __init__(self, heads: int, width: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        self._heads = heads
        self._dropout = dropout
        self._causal = causal
        self.before = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.gather = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return new representations of tokens, shape (n, t, width) as given."""
        query, key, value = (
            part.unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for part in self.attention(self.before(x)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            is_causal=self._causal,
            dropout_p=self._dropout if self.training else 0.0,
        )
        x = x + self.gather(seen.transpose(1, 2).flatten(2))
        thought: Tensor = x + self.think(x)
        return thought

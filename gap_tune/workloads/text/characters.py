"""A small GPT that learns to spell the user's text files, character by character."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from gap_tune.errors import InvalidValueError, check_count, check_range
from gap_tune.workloads.base import Recipes, Splits, Workload
from gap_tune.workloads.transformer import TransformerBlock

# Where train, validation and test end, as shares of the text.
_ENDS = (0.0, 0.8, 0.9, 1.0)


class Characters(Workload):
    """A transformer over windows of characters; the first 80 % of the text train it.

    Args:
        files: Text files in UTF-8, or a folder, of which all ``*.txt`` are read.
        window: Characters that the model sees at once.
        layers: Transformer blocks.
        heads: Attention heads; they must divide ``width``.
        width: Size of a character's representation.
        dropout: Share of activations dropped in training.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "characters"
    description = "small GPT (0.8 M parameters) on characters"
    size = "as large as it is"
    source = "your text files"
    needs = "files= of text, or a folder of *.txt"
    family = "adamw"
    lr = 1e-3
    weight_decay = 0.1
    recipes: ClassVar[Recipes] = {"sgd": {"lr": 0.1, "weight_decay": 0.0}}
    warmup_epochs = 0.5

    def __init__(
        self,
        *,
        files: str | Sequence[str] = (),
        window: int = 128,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.1,
    ) -> None:
        self.files = [files] if isinstance(files, str) else list(files)
        self.window = check_count("window", window)
        self.layers = check_count("layers", layers)
        self.heads = check_count("heads", heads)
        self.width = check_count("width", width)
        self.dropout = check_range("dropout", dropout, 0.0, 1.0, high_open=True)
        if width % heads:
            raise InvalidValueError(f"heads must divide width, {width}, but got {heads}.")

    def model(self) -> nn.Module:
        """Return the transformer for the characters that occur in the text."""
        return CharacterGPT(
            len(set(self._text)), self.window, self.layers, self.heads, self.width, self.dropout
        )

    def data(self) -> Splits:
        """Return windows side by side; targets are the characters that follow each.

        Raises:
            InvalidValueError: When there is no text, or it is shorter than a window per split.
        """
        numbers = {character: i for i, character in enumerate(sorted(set(self._text)))}
        tokens = torch.tensor([numbers[character] for character in self._text])
        return Splits(*(self._windows(tokens, *ends) for ends in pairwise(_ENDS)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy per character in nats."""
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the cross-entropy in nats, and the share of characters guessed right."""
        accuracy = (outputs.argmax(-1) == targets).float().mean().item()
        return {"loss": self.loss(outputs, targets).item(), "accuracy": accuracy}

    def _windows(self, tokens: Tensor, start: float, end: float) -> TensorDataset:
        part = tokens[round(start * len(tokens)) : round(end * len(tokens))]
        count = (len(part) - 1) // self.window
        if count < 1:
            raise InvalidValueError(
                f"files must hold at least {12 * self.window} characters for windows of "
                f"{self.window}, but got {len(tokens)}: give more text or a smaller window."
            )
        length = count * self.window
        return TensorDataset(
            part[:length].reshape(count, -1), part[1 : length + 1].reshape(count, -1)
        )

    @cached_property
    def _text(self) -> str:
        paths = [path for name in self.files for path in _texts(Path(name).expanduser())]
        if not paths:
            raise InvalidValueError(
                'files must name at least one text file, as {"files": ["book.txt"]} in '
                f"workload_options, but got {self.files}."
            )
        return "".join(map(_read, paths))


class CharacterGPT(nn.Module):
    """Embeddings, transformer blocks that look back only, and a head.

    Args:
        characters: Number of different characters.
        window: Longest sequence.
        layers: Number of blocks.
        heads: Attention heads per block.
        width: Size of the representation.
        dropout: Share of activations dropped in training.
    """

    def __init__(
        self, characters: int, window: int, layers: int, heads: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.places = nn.Parameter(torch.zeros(window, width))
        self.blocks = nn.Sequential(
            *(TransformerBlock(heads, width, dropout, causal=True) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters, bias=False)
        for weight in (self.characters.weight, self.places, self.head.weight):
            nn.init.normal_(weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the next character, shape (n, t, characters), for tokens (n, t)."""
        x = self.characters(tokens) + self.places[: tokens.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(x)))
        return logits


def _texts(path: Path) -> list[Path]:
    return sorted(path.glob("*.txt")) if path.is_dir() else [path]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"files must be text in UTF-8 that can be read, but got {path}: {error}."
        ) from None

"""Questions with answers: reading them, turning them into tokens, batching those."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import InvalidValueError

# What cross_entropy passes over.
IGNORED = -100
_KEYS = ("query", "response")


class Questions:
    """Token sequences, each a question and its answer; only the answer is to be learned.

    Args:
        tokens: All sequences, one after the other, shape (t,).
        ends: Where each ends, shape (n,).
        asked: How many tokens of each are the question, shape (n,).
    """

    def __init__(self, tokens: Tensor, ends: Tensor, asked: Tensor) -> None:
        self._tokens = tokens
        self._ends = ends
        self._asked = asked

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self._ends)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a sequence, shape (length,), and the length of its question."""
        start = int(self._ends[index - 1]) if index > 0 else 0
        return self._tokens[start : int(self._ends[index])].long(), int(self._asked[index])


def read_questions(path: Path) -> list[tuple[str, str]]:
    """Return the (query, response) pairs of a JSONL file, or of a JSON file with one list.

    Raises:
        InvalidValueError: When the file is missing, empty, or a line is not such a pair.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"file must be JSONL in UTF-8 that can be read, but got {path}: {error}."
        ) from None
    found = list(_records(path, text))
    if not found:
        raise InvalidValueError(
            'file must hold at least one line {"query": "...", "response": "..."}, but got an '
            f"empty one: {path}."
        )
    return found


def tokenise(
    pairs: Iterable[tuple[str, str]], tokenizer: Any, template: str, longest: int
) -> dict[str, Tensor]:
    """Return what ``Questions`` takes, of the pairs whose question leaves room for an answer.

    Args:
        pairs: Questions with answers.
        tokenizer: A Hugging Face tokenizer.
        template: Text with ``{query}`` that the answer is to follow.
        longest: Tokens at which a sequence is cut off.

    Raises:
        InvalidValueError: When no question leaves room.
    """
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens: list[int] = []
    ends, asked = [], []
    for query, response in pairs:
        question = tokenizer(template.replace("{query}", query))["input_ids"]
        answer = tokenizer(response, add_special_tokens=False)["input_ids"]
        if 0 < len(question) < longest:
            tokens += [*question, *answer, *end][:longest]
            ends.append(len(tokens))
            asked.append(len(question))
    if not ends:
        raise InvalidValueError(
            f"longest must leave room for an answer, but got {longest} tokens, which no question "
            "is shorter than."
        )
    return {
        "tokens": torch.tensor(tokens, dtype=torch.int32),
        "ends": torch.tensor(ends),
        "asked": torch.tensor(asked),
    }


def pad(samples: Sequence[tuple[Tensor, int]]) -> tuple[dict[str, Tensor], Tensor]:
    """Return (inputs of a causal language model, targets), padded to the longest sample.

    Targets are the inputs where there is something to learn, and IGNORED elsewhere.
    """
    shape = len(samples), max(len(tokens) for tokens, _ in samples)
    inputs = torch.zeros(shape, dtype=torch.long)
    present = torch.zeros(shape, dtype=torch.long)
    targets = torch.full(shape, IGNORED)
    for row, (tokens, asked) in enumerate(samples):
        inputs[row, : len(tokens)] = tokens
        present[row, : len(tokens)] = 1
        targets[row, asked : len(tokens)] = tokens[asked:]
    return {"input_ids": inputs, "attention_mask": present}, targets


def _records(path: Path, text: str) -> Iterator[tuple[str, str]]:
    if text.lstrip().startswith("["):
        for i, record in enumerate(_json(path, "the list", text)):
            yield _pair(path, f"entry {i + 1}", record)
        return
    # splitlines() would also split at characters that JSON strings may hold.
    for i, line in enumerate(text.split("\n")):
        if line.strip():
            place = f"line {i + 1}"
            yield _pair(path, place, _json(path, place, line))


def _json(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidValueError(
            f"file must be JSONL, one object a line, but got {place} of {path}: {error}."
        ) from None


def _pair(path: Path, place: str, record: Any) -> tuple[str, str]:
    texts = [record.get(key) if isinstance(record, dict) else None for key in _KEYS]
    if not all(isinstance(text, str) and text for text in texts):
        keys = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise InvalidValueError(
            f'file must have texts "query" and "response" in every line, but got {keys} in {place} '
            f"of {path}."
        )
    return str(texts[0]), str(texts[1])

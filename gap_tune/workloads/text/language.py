"""Fine-tuning a Hugging Face causal language model on questions with answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gap_tune.errors import InvalidValueError, UnsupportedError, check_count, check_range
from gap_tune.workloads.base import Recipes, Splits, Workload, take
from gap_tune.workloads.cache import locked, prepared, version_of
from gap_tune.workloads.text.questions import IGNORED, Questions, pad, read_questions, tokenise

_TEMPLATE = "Question: {query}\nAnswer: "
_SPLIT_SEED = 0


class Language(Workload):
    """A causal language model that learns to answer; the questions are not learned.

    Args:
        file: JSONL with texts ``query`` and ``response``: a local file, or "owner/dataset/file" on
            the Hugging Face hub.
        model: A local folder, or a name on the hub.
        tokenizer: The same for the tokenizer; None takes the model's.
        architecture: A random model instead of a trained one: ``{"model_type": "gpt2", ...}``,
            the arguments of its configuration in transformers.
        lora: Train a low-rank adapter instead of all weights: arguments of ``peft.LoraConfig``,
            such as ``{"r": 8, "lora_alpha": 16}``.
        template: Text with ``{query}`` that the answer is to follow.
        longest: Tokens at which question and answer are cut off.
        limit: Use so many questions at most.
        held_back: Share of the questions in validation and test, one half each.

    Raises:
        InvalidValueError: When an option is out of range.
    """

    name = "language"
    description = "fine-tuning a causal language model, with or without LoRA"
    size = "395,000 questions (MetaMathQA)"
    source = "Hugging Face hub, or your JSONL"
    needs = "gap-tune[language]; network, or file= and model="
    family = "adamw"
    lr = 2e-5
    recipes: ClassVar[Recipes] = {"sgd": {"lr": 0.01, "weight_decay": 0.0}}
    warmup_epochs = 0.03
    batch_size = 16
    epochs = 3

    def __init__(
        self,
        *,
        file: str = "meta-math/MetaMathQA/MetaMathQA-395K.json",
        model: str = "openai-community/gpt2",
        tokenizer: str | None = None,
        architecture: Mapping[str, Any] | None = None,
        lora: Mapping[str, Any] | None = None,
        template: str = _TEMPLATE,
        longest: int = 512,
        limit: int | None = None,
        held_back: float = 0.02,
    ) -> None:
        if "{query}" not in template:
            raise InvalidValueError(f'template must hold "{{query}}", but got {template!r}.')
        self.file = file
        self.source_model = model
        self.source_tokenizer = tokenizer or model
        self.architecture = architecture
        self.lora = lora
        self.template = template
        self.longest = check_count("longest", longest, 2)
        self.limit = None if limit is None else check_count("limit", limit, 3)
        self.held_back = check_range("held_back", held_back, 0.0, 1.0, low_open=True)

    def model(self) -> nn.Module:
        """Return the model, with its adapter if there is one.

        Raises:
            InvalidValueError: When it cannot be loaded.
            UnsupportedError: When transformers or peft is not installed.
        """
        library = _transformers()
        if self.architecture is None:
            automatic = library.AutoModelForCausalLM
            model = _load("model", self.source_model, automatic.from_pretrained)
        else:
            options = {"vocab_size": len(self._tokenizer), **self.architecture}
            model = library.AutoModelForCausalLM.from_config(
                library.AutoConfig.for_model(**options)
            )
        adapted: nn.Module = model if self.lora is None else _with_lora(model, self.lora)
        return adapted.train()

    def data(self) -> Splits:
        """Return questions, split at random, the same way at every seed.

        Raises:
            InvalidValueError: When the file is missing, empty or not of the format, or too small.
            UnsupportedError: When transformers is not installed.
        """
        path = self._path()
        key = {
            "file": version_of([path]),
            "tokenizer": self.source_tokenizer,
            "vocabulary": len(self._tokenizer),
            "template": self.template,
            "longest": self.longest,
            "limit": self.limit,
        }
        tensors = prepared(
            self.name,
            key,
            lambda: tokenise(
                read_questions(path)[: self.limit], self._tokenizer, self.template, self.longest
            ),
        )
        return self._split(Questions(**tensors))

    def forward(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return logits, shape (n, t, vocabulary)."""
        logits: Tensor = model(**inputs, use_cache=False).logits
        return logits

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return the batch, padded to its longest sample."""
        return pad(samples)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy per token of the answers in nats."""
        return functional.cross_entropy(
            outputs[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED
        )

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the cross-entropy in nats, and the share of answers' tokens guessed right."""
        following = targets[:, 1:]
        learned = following != IGNORED
        right = (outputs[:, :-1].argmax(-1) == following)[learned]
        return {
            "loss": self.loss(outputs, targets).item(),
            "accuracy": right.float().mean().item(),
        }

    def weight(self, targets: Tensor) -> int:
        """Return the number of tokens that the means are taken over."""
        return int((targets[:, 1:] != IGNORED).sum())

    @cached_property
    def _tokenizer(self) -> Any:
        automatic = _transformers().AutoTokenizer
        return _load("tokenizer", self.source_tokenizer, automatic.from_pretrained)

    def _split(self, questions: Questions) -> Splits:
        half = max(1, round(self.held_back * len(questions) / 2))
        if len(questions) < 2 * half + 1:
            raise InvalidValueError(
                "file must hold a question each for train, validation and test, but got "
                f"{len(questions)} in all: {self.file}."
            )
        chance = torch.Generator().manual_seed(_SPLIT_SEED)
        order = torch.randperm(len(questions), generator=chance)
        parts = order[2 * half :], order[:half], order[half : 2 * half]
        return Splits(*(take(questions, part) for part in parts))

    def _path(self) -> Path:
        path = Path(self.file).expanduser()
        owner, _, rest = self.file.partition("/")
        name, _, inside = rest.partition("/")
        if path.is_file():
            return path
        if not (owner and name and inside):
            raise InvalidValueError(
                "file must be a file of JSONL, or owner/dataset/file on the Hugging Face hub, "
                f"but got {self.file!r}, which is not here."
            )
        _transformers()
        from huggingface_hub import hf_hub_download

        def fetch(_: str) -> str:
            # The newest, as its user named it; JSONL runs no code.
            return str(hf_hub_download(f"{owner}/{name}", inside, repo_type="dataset"))  # nosec B615

        with locked("hub"):
            found = _load("file", self.file, fetch)
        return Path(found)


def _load(what: str, name: str, load: Callable[[str], Any]) -> Any:
    """Return what a loader of Hugging Face makes of a name, or say in one line what to do."""
    try:
        return load(name)
    # A path that is no folder, a name that the hub has not, no network, a damaged file: each has
    # an exception of its own, of four packages.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InvalidValueError(
            f"{what} must be a local path or a name on the Hugging Face hub: where there is no "
            f"network, run `hf download` elsewhere and give the path, but got {name!r}: {reason}"
        ) from None


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UnsupportedError(
            f"language must find transformers: pip install 'gap-tune[language]', but got: {error}."
        ) from None
    return transformers


def _with_lora(model: Any, options: Mapping[str, Any]) -> nn.Module:
    try:
        import peft
    except ImportError as error:
        raise UnsupportedError(
            f"lora must find peft: pip install 'gap-tune[language]', but got: {error}."
        ) from None
    try:
        chosen = peft.LoraConfig(**{"task_type": "CAUSAL_LM", **options})
    except TypeError as error:
        raise InvalidValueError(
            f"lora must be arguments of peft.LoraConfig, but got: {error}."
        ) from None
    adapted: nn.Module = peft.get_peft_model(model, chosen)
    return adapted

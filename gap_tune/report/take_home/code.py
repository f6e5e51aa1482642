"""Code to paste: the optimizer of a trial without Ray Tune, its schedule, and a fixed pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gap_tune.control.trust_region import TrustRegion
from gap_tune.rules.registry import known_rule
from gap_tune.tune import keys

# What optimizers of torch call settings that configurations often hold by the same name.
_SGD = ("weight_decay", "nesterov", "dampening")
_ADAM = ("weight_decay", "eps", "amsgrad")
_BETA2 = 0.999
_HOW = """\
# gap_tune.best(results).save_schedule("{file}") writes the file. The
# learning rate's scale is not in it, but follows the agreement anew.
"""
# So that code has room in 80 columns, indented and behind "optimizer = torch.optim.".
_WIDTH = 52


@dataclass(frozen=True)
class Written:
    """An optimizer as code.

    Attributes:
        name: Its class, in ``gap_tune.optim`` and in ``torch.optim``.
        options: What the configuration says besides learning rate and momentum.
        beta2: Of those like Adam; None of SGD.
    """

    name: str
    options: Mapping[str, Any]
    beta2: float | None

    @classmethod
    def of(cls, config: Mapping[str, Any], *, whitened: bool) -> Written:
        """Return the optimizer that a configuration is most likely of: it names none.

        Args:
            config: The configuration.
            whitened: Whether the trial's statistics are whitened, as of optimizers like Adam.
        """
        known = {name: keys.setting(config, name) for name in (_ADAM if whitened else _SGD)}
        options = {k: v for k, v in known.items() if isinstance(v, int | float)}
        if not whitened:
            return cls("SGD", options, None)
        beta2 = keys.setting(config, "beta2", _BETA2)
        return cls("AdamW", options, float(beta2) if isinstance(beta2, int | float) else _BETA2)

    def call(self, lr: float, momentum: float, more: Mapping[str, str] | None = None) -> str:
        """Return the call that makes it, an argument in a line where one has no room for all.

        >>> Written("SGD", {}, None).call(0.1, 0.9)
        'SGD(model.parameters(), lr=0.1, momentum=0.9)'
        """
        held = f"momentum={momentum:.4g}"
        if self.beta2 is not None:
            held = f"betas=({momentum:.4g}, {self.beta2:.4g})"
        options = {**{k: f"{v!r}" for k, v in self.options.items()}, **(more or {})}
        rest = [f"{name}={value}" for name, value in options.items()]
        arguments = ["model.parameters()", f"lr={lr:.4g}", held, *rest]
        line = f"{self.name}({', '.join(arguments)})"
        if len(line) <= _WIDTH:
            return line
        return "\n".join([f"{self.name}(", *(f"    {each}," for each in arguments), ")"])

    def tuning_itself(self, lr: float, momentum: float, own: Mapping[str, Any]) -> str:
        """Return code that makes it choose its momentum as the trial's was chosen.

        Args:
            lr: The learning rate that belongs to ``momentum``.
            momentum: What to start with.
            own: gap_tune's section of the configuration: its rule and trust region.
        """
        imports, more = _region(own)
        if own.get(keys.RULE) is not None:
            imports = [*imports, "from gap_tune.rules import get_rule"]
            more = {"rule": f"get_rule({own[keys.RULE]!r})", **more}
        return self._made(lr, momentum, imports, {**more, **self._coupling(own)})

    def replaying(self, lr: float, momentum: float, own: Mapping[str, Any], file: str) -> str:
        """Return code that makes it go through a schedule that was saved.

        Args:
            lr: As of ``tuning_itself``.
            momentum: As of ``tuning_itself``.
            own: As of ``tuning_itself``.
            file: Where ``MomentumSchedule.save`` wrote it.
        """
        # A schedule follows the agreement by default, which the trial's own rule may not have done.
        off = own.get(keys.TRUST_REGION) is None and not known_rule(own.get(keys.RULE)).scales_lr
        imports, more = _region({keys.TRUST_REGION: keys.NO_TRUST_REGION} if off else own)
        rule = {"rule": f'MomentumSchedule.from_file("{file}")'}
        names = ", ".join(sorted({"MomentumSchedule", *(["TrustRegion"] if imports else [])}))
        more = {**rule, **more, **self._coupling(own)}
        made = self._made(lr, momentum, [f"from gap_tune import {names}"], more)
        return _HOW.format(file=file) + made

    def _coupling(self, own: Mapping[str, Any]) -> dict[str, str]:
        """Return the argument that leaves learning rates uncoupled, which only SGD needs."""
        return {} if self.beta2 is not None or couples(own) else {"couple_lr": "False"}

    def _made(
        self, lr: float, momentum: float, imports: Sequence[str], more: Mapping[str, str]
    ) -> str:
        lines = [*imports, f"from gap_tune.optim import {self.name}"]
        return "\n".join([*sorted(lines), f"optimizer = {self.call(lr, momentum, more)}"])

    def fixed(self, lr: float, momentum: float) -> str:
        """Return code that makes torch's own, with a fixed pair."""
        return f"optimizer = torch.optim.{self.call(lr, momentum)}"


def couples(own: Mapping[str, Any]) -> bool:
    """Tell whether the learning rate of SGD follows momentum, as far as a section tells."""
    return known_rule(own.get(keys.RULE)).couple_lr is not False


def _region(own: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the import and the argument of a section's trust region; nothing by default."""
    said = own.get(keys.TRUST_REGION)
    if not isinstance(said, Mapping):
        return [], {}
    usual = TrustRegion().to_dict()
    options = {name: value for name, value in said.items() if value != usual.get(name)}
    if options.get("span") == keys.NO_TRUST_REGION["span"]:
        return ["from gap_tune import TrustRegion"], {"trust_region": "TrustRegion.off()"}
    if not options:
        return [], {}
    told = ", ".join(f"{name}={value:.4g}" for name, value in options.items())
    return ["from gap_tune import TrustRegion"], {"trust_region": f"TrustRegion({told})"}

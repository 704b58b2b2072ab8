"""Low-rank changes of a base that belong to its gates: W + scaling * B A.

Training makes them with peft; here they are values, so that following them needs no peft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from skipwise.errors import SkipwiseError


@final
@dataclass(frozen=True)
class LowRank:
    """The change of one linear layer."""

    down: Float[Tensor, "rank inputs"]
    """A."""
    up: Float[Tensor, "outputs rank"]
    """B."""


@final
@dataclass(frozen=True, eq=False)
class LoraWeights:
    """The changes of a base's linear layers (Hu et al. 2021)."""

    scaling: float
    """alpha / rank."""
    layers: Mapping[str, LowRank]
    """By the layer's name in the network: `decoder.layers.0.ffn.fc1`."""

    def delta(self, name: str) -> Float[Tensor, "outputs inputs"]:
        """Return what is added to the weight of a layer."""
        change = self.layers[name]
        return self.scaling * (change.up @ change.down)

    def tensors(self) -> dict[str, Tensor]:
        """Return all matrices by the names that they are stored under."""
        named = {f"{name}.lora_A": change.down for name, change in self.layers.items()}
        return named | {f"{name}.lora_B": change.up for name, change in self.layers.items()}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], *, scaling: float) -> LoraWeights:
        """Return the changes stored as `tensors`.

        Raises:
            SkipwiseError: if a matrix has no partner of its rank, or an unknown name.
        """
        names = sorted({name.removesuffix(".lora_A").removesuffix(".lora_B") for name in tensors})
        expected = {f"{name}.{kind}" for name in names for kind in ("lora_A", "lora_B")}
        wrong = sorted(expected ^ set(tensors))
        if wrong:
            raise SkipwiseError(f"LoRA weights come in pairs, <layer>.lora_A and .lora_B; see {', '.join(wrong)}.")
        layers = {}
        for name in names:
            down, up = tensors[f"{name}.lora_A"], tensors[f"{name}.lora_B"]
            if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
                raise SkipwiseError(
                    f"the LoRA matrices of {name} do not fit together: A {tuple(down.shape)}, B {tuple(up.shape)}."
                )
            layers[name] = LowRank(down, up)
        return cls(scaling, layers)

"""What each site of a model costs in one setting: MACs, bytes of weights, and measured milliseconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.gating.budget import Unit
from skipwise.gating.sites import GateSite, Stack

COST_FORMAT = 1


@final
@dataclass(frozen=True, kw_only=True)
class SiteCost:
    """One site, over the whole of one utterance: all its tokens, the projections of source attention included."""

    macs: int
    weight_bytes: int
    """Bytes of weights that one run of it reads."""
    ms: float
    """Milliseconds, measured."""


@final
@dataclass(frozen=True, kw_only=True)
class CostTable:
    """The costs of one model on one machine in one setting."""

    setting: Mapping[str, Any]
    """Model, device, dtype, beam size, seconds of audio, tokens, threads, machine: what the milliseconds hold for."""
    sites: Mapping[GateSite, SiteCost]
    merge_ms: Mapping[int, float]
    """Milliseconds of what runs in an encoder layer unless both of its branches are closed, by layer."""
    rest_ms: Mapping[Stack, float]
    """Milliseconds of each stack that no gate can save: embeddings, norms, output layer."""

    def cost(self, site: GateSite, unit: Unit) -> float:
        """Return what a site counts for."""
        return 1.0 if unit == "sites" else float(getattr(self.sites[site], unit))

    def gateable(self, stack: Stack, unit: Unit) -> float:
        """Return the cost of all sites of a stack."""
        return sum(self.cost(site, unit) for site in self.sites if site.stack == stack)

    def site_weights(self, sites: Sequence[GateSite], unit: Unit) -> Float[Tensor, " sites"]:
        """Return each site's share of the gateable cost of its stack; those of a stack sum up to 1.

        Raises:
            SkipwiseError: for a site that was not measured.
        """
        unknown = [str(site) for site in sites if site not in self.sites]
        if unknown:
            raise SkipwiseError(
                f"this cost table has no site {', '.join(unknown)}: it is of {self.setting.get('model')}. Measure the "
                "model itself: skipwise bench cost --model MODEL."
            )
        return torch.tensor([self.cost(site, unit) / self.gateable(site.stack, unit) for site in sites])

    def sparsity_for(self, speedup: float, stacks: Sequence[Stack]) -> float:
        """Return the share of the gateable milliseconds of `stacks` to close for the whole to be so many times as fast.

        The whole is both stacks, with what no gate can save.

        Raises:
            SkipwiseError: if that is not above 1, or more than closing everything there would give.
        """
        gateable = sum(self.gateable(stack, "ms") for stack in stacks)
        whole = sum(self.gateable(stack, "ms") + self.rest_ms[stack] for stack in self.rest_ms) + sum(
            self.merge_ms.values()
        )
        most = whole / (whole - gateable)
        if not 1 < speedup < most:
            raise SkipwiseError(
                f"a speedup must be above 1 and below {most:.2f}, which closing all of {' and '.join(stacks)} gives "
                f"here; got {speedup:g}. Gate both stacks for more."
            )
        return (1 - 1 / speedup) * whole / gateable

    def save(self, path: str | Path) -> None:
        """Write the table as JSON."""
        record = {
            "format": COST_FORMAT,
            "setting": dict(self.setting),
            "rest_ms": dict(self.rest_ms),
            "merge_ms": {str(layer): ms for layer, ms in self.merge_ms.items()},
            "sites": {
                str(site): {"macs": cost.macs, "weight_bytes": cost.weight_bytes, "ms": cost.ms}
                for site, cost in self.sites.items()
            },
        }
        with atomic_write(path) as file:
            json.dump(record, file, indent=2, ensure_ascii=False)

    @classmethod
    def load(cls, path: str | Path) -> CostTable:
        """Return the table in a file.

        Raises:
            SkipwiseError: if it is not there, or no cost table of this format.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record["format"] != COST_FORMAT:
                raise SkipwiseError(
                    f"{path} has format {record['format']}, this version reads {COST_FORMAT}. Measure it again: "
                    "skipwise bench cost."
                )
            return cls(
                setting=record["setting"],
                sites={GateSite.parse(name): SiteCost(**cost) for name, cost in record["sites"].items()},
                merge_ms={int(layer): ms for layer, ms in record["merge_ms"].items()},
                rest_ms=record["rest_ms"],
            )
        except FileNotFoundError as error:
            raise SkipwiseError(f"no such cost table: {path}. Measure one: skipwise bench cost.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SkipwiseError(f"{path} is no cost table: {error!r}. Measure one: skipwise bench cost.") from error

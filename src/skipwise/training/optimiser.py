"""Optimisers of a training run: AdamW, or Muon for the weights of the layers with AdamW for all else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.training.config import OptimisationSection


class BatchedMuon(torch.optim.Muon):
    """torch's Muon, but matrices of one shape are computed together, in fp32: on a CPU in 0.75 of the time."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make a step."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for matrices in _of_one_shape(group["params"]):
                self._step_together(matrices, group)
        return loss

    def _step_together(self, matrices: list[nn.Parameter], group: dict[str, Any]) -> None:
        momentum, updates = group["momentum"], []
        for matrix in matrices:
            assert matrix.grad is not None
            state = self.state[matrix]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(matrix.grad)
            buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
            updates.append(matrix.grad.lerp(buffer, momentum) if group["nesterov"] else buffer)
        orthogonal = _orthogonalised(torch.stack(updates), group["ns_coefficients"], group["ns_steps"], group["eps"])
        rate = group["lr"] * 0.2 * math.sqrt(max(matrices[0].shape))
        for matrix, update in zip(matrices, orthogonal, strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def _of_one_shape(matrices: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for matrix in matrices:
        if matrix.grad is not None:
            by_shape.setdefault(matrix.shape, []).append(matrix)
    return list(by_shape.values())


def _orthogonalised(
    updates: Float[Tensor, "n rows columns"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "n rows columns"]:
    """Return the nearest orthogonal matrices, about, by Newton-Schulz iterations (Jordan et al. 2024)."""
    is_tall = updates.shape[1] > updates.shape[2]
    wide = updates.mT.contiguous() if is_tall else updates
    wide = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=eps)
    a, b, c = coefficients
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.baddbmm(wide, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.mT if is_tall else wide


class MuonAdamW(torch.optim.Optimizer):
    """Muon for some groups of matrices and AdamW for the others, behind one schedule and one state.

    Muon (Jordan et al. 2024) turns the momentum of a matrix into the nearest one whose singular values are all one. A
    step is scaled as AdamW's are in the mean (Liu et al. 2025), so that both take the same learning rate.
    """

    def __init__(self, matrices: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
        """Take groups of parameters with their `lr` and `weight_decay`; those of `matrices` must have two axes."""
        self._muon = BatchedMuon(matrices, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others, betas=_BETAS, fused=True)
        self._num_muon = len(self._muon.param_groups)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one step of either; groups and state are this optimiser's, which a schedule and a checkpoint know."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        self._muon.param_groups = self.param_groups[: self._num_muon]
        self._adamw.param_groups = self.param_groups[self._num_muon :]
        for part in (self._muon, self._adamw):
            part.state = self.state
            part.step()
        return loss


def make_optimiser(model: nn.Module, chosen: OptimisationSection, gate_rate: float) -> torch.optim.Optimizer:
    """Return the optimiser of what is trained in `model`: one rate for the base, `gate_rate` for the gates.

    Weights decay in matrices of the base alone. Muon takes the weights of linear layers within layers of the base:
    embeddings, output heads, convolutions and gates are AdamW's.
    """
    of_muon = set(_matrices_of_layers(model)) if chosen.optimiser == "muon" else set()
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = (name in of_muon, _GATES in name, parameter.ndim > 1)
            groups.setdefault(kind, []).append(parameter)
    described = {
        (muon, of_gates, decays): {
            "params": parameters,
            "lr": gate_rate if of_gates else chosen.learning_rate,
            "weight_decay": chosen.weight_decay if decays and not of_gates else 0.0,
        }
        for (muon, of_gates, decays), parameters in groups.items()
    }
    matrices = [group for (muon, *_), group in described.items() if muon]
    others = [group for (muon, *_), group in described.items() if not muon]
    if matrices:
        return MuonAdamW(matrices, others)
    return torch.optim.AdamW(others, betas=_BETAS, fused=True)


def _matrices_of_layers(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and ".layers." in f".{name}" and _GATES not in name:
            yield f"{name}.weight"


_GATES = "gate_adapter."
_BETAS = (0.9, 0.98)

"""Linear layers in other precisions, behind one seam: what a projection's weights are stored and multiplied as.

`fp32` is the model itself, its larger weights in oneDNN's order on x86. `fp16-packed` stores weights as fp16 in
fbgemm's blocked order and multiplies in fp32 (x86 only): a step of decoding reads half as much. `int8` quantises
weights per output channel, and activations on the fly. `bf16` computes everything in bf16, for devices that do it fast.
"""

from __future__ import annotations

import copy
import platform
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, final, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from skipwise.errors import SkipwiseError

Dtype = Literal["fp32", "fp16-packed", "int8", "bf16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)

_FEWEST_PACKED = 4_000_000
"""Weights of a decoder that pay for packing: 16 MB in fp32. One of 1.7 million takes 1.2 times as long packed."""

_FEWEST_BLOCKED = 100_000
"""Weights of a product that pay for another order: smaller ones stay in the caches, and calling oneDNN takes longer."""

_USUAL_ROWS = 16
"""Rows that blocks are chosen for; the order for five to hundreds of rows is the same."""

_LARGEST_FP16 = 65504.0
_INT8_LEVELS = 127.0
_SMALLEST_SCALE = 1e-8


class Projection(ABC):
    """states @ weight.T + bias, of one linear layer or of several side by side."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        self.in_features = layers[0].in_features
        self.out_features = sum(layer.out_features for layer in layers)

    @abstractmethod
    def __call__(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        """Return the outputs of all layers, side by side."""

    @property
    @abstractmethod
    def bytes_per_weight(self) -> int:
        """Bytes that a weight takes where the product reads it."""

    @property
    def num_weight_bytes(self) -> int:
        """Bytes that one product reads of the weights."""
        return self.in_features * self.out_features * self.bytes_per_weight


@final
class PlainProjection(Projection):
    """Weights as torch multiplies them; those of a single layer in its own type are shared with it, not copied."""

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype) -> None:
        super().__init__(layers)
        self._weight, self._bias = _weight_and_bias(layers, dtype)

    def __call__(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        return F.linear(states, self._weight, self._bias)

    @property
    def bytes_per_weight(self) -> int:
        return self._weight.element_size()


@final
class BlockedProjection(Projection):
    """fp32 weights in oneDNN's blocked order for several rows, and in the order that is read fastest for a single one.

    MKL, which torch uses otherwise, orders a weight anew at every product of some rows. 1024 inputs to 4096 outputs
    (AVX-512): five rows take 0.85 ms instead of 2.4, sixteen 1.6 instead of 3.1; a row takes 0.83 instead of 1.1.
    """

    bytes_per_weight = 4

    def __init__(self, layers: Sequence[nn.Linear], *, many_rows: bool = False) -> None:
        super().__init__(layers)
        weight, self._bias = _weight_and_bias(layers, torch.float32)
        self._blocked = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _USUAL_ROWS)
        self._of_one_row: Callable[[Tensor], Tensor] | None = None
        if not many_rows:
            self._of_one_row = _product_of_one_row(weight, self._bias)

    def __call__(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        if self._of_one_row is not None and states.numel() == self.in_features:
            return self._of_one_row(states)
        return torch.ops.mkldnn._linear_pointwise(states, self._blocked, self._bias, "none", [], "")


@final
class Fp16PackedProjection(Projection):
    """fp16 weights, fp32 sums, by fbgemm."""

    bytes_per_weight = 2

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__(layers)
        weight, bias = _weight_and_bias(layers, torch.float32)
        if float(weight.abs().max()) > _LARGEST_FP16:
            raise SkipwiseError(
                f"fp16-packed weights must be within {_LARGEST_FP16:g}, got {float(weight.abs().max()):g}. Use fp32."
            )
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), bias)

    def __call__(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        return torch.ops.quantized.linear_dynamic_fp16(states, self._packed)


@final
class Int8Projection(Projection):
    """int8 weights, symmetric with one scale an output channel; activations are quantised at every call."""

    bytes_per_weight = 1

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__(layers)
        weight, bias = _weight_and_bias(layers, torch.float32)
        scales = (weight.abs().amax(dim=1) / _INT8_LEVELS).clamp_min(_SMALLEST_SCALE).double()
        zeros = torch.zeros(self.out_features, dtype=torch.long)
        with warnings.catch_warnings():  # torch wants such code to move to torchao, which has no such kernel for a CPU
            warnings.filterwarnings("ignore", message=r".*quantize_per_channel.*")
            quantised = torch.quantize_per_channel(weight.contiguous(), scales, zeros, 0, torch.qint8)
        self._packed = torch.ops.quantized.linear_prepack(quantised, bias)

    def __call__(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        return torch.ops.quantized.linear_dynamic(states, self._packed, True)


@torch.no_grad()
def pack(layers: Sequence[nn.Module], dtype: Dtype | None, *, many_rows: bool = False) -> Projection:
    """Return the projection that computes `layers` side by side in one product; it does not follow later changes.

    A `dtype` of None leaves the weights as they are. Low-rank changes that peft has put on a layer are added up. With
    `many_rows` it is made for hundreds of rows at once: see `of_many_rows`.

    Raises:
        SkipwiseError: if the weights do not fit into `dtype`.
    """
    linear = [_with_changes(layer) for layer in layers]
    match of_many_rows(dtype) if many_rows else dtype:
        case None:
            return PlainProjection(linear, linear[0].weight.dtype)
        case "fp32" if _pays_for_blocks(linear):
            return BlockedProjection(linear, many_rows=many_rows)
        case "fp32":
            return PlainProjection(linear, torch.float32)
        case "fp16-packed":
            return Fp16PackedProjection(linear)
        case "bf16":
            return PlainProjection(linear, torch.bfloat16)
        case "int8":
            return Int8Projection(linear)


def check_dtype(dtype: str, device: torch.device, *, num_weights: int) -> Dtype:
    """Return the precision that `dtype` means on `device` for a decoder of so many weights.

    `auto` is the fastest that leaves the texts as they are: packed, unless fp32 weights stay in the caches anyway.

    Raises:
        SkipwiseError: if there is no such precision, or the device cannot compute in it.
    """
    packs = device.type == "cpu" and _has_fbgemm()
    if dtype == "auto":
        return "fp16-packed" if packs and num_weights >= _FEWEST_PACKED else "fp32"
    if dtype not in DTYPES:
        raise SkipwiseError(f"dtype must be auto or one of {', '.join(DTYPES)}; got {dtype!r}.")
    if dtype in ("fp16-packed", "int8") and not packs:
        raise SkipwiseError(f"{dtype} is for x86 processors, got device {device}. Use fp32, or bf16 on a GPU.")
    return dtype


def activation_dtype(dtype: Dtype) -> torch.dtype:
    """Return the type of what flows between projections."""
    return torch.bfloat16 if dtype == "bf16" else torch.float32


def of_many_rows(dtype: Dtype | None) -> Dtype | None:
    """Return what products of hundreds of rows are computed in: there packed fp16 gains nothing."""
    return "fp32" if dtype == "fp16-packed" else dtype


@torch.no_grad()
def packed_copy(module: nn.Module, dtype: Dtype) -> nn.Module:
    """Return a module that computes the same in another precision: linear layers are packed, the rest is shared.

    For products of many rows. In int8 convolutions over several channels become products too.
    """
    if dtype == "bf16":
        return copy.deepcopy(module).bfloat16()
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    copied = copy.deepcopy(module, shared)
    _replace_products(copied, dtype)
    return copied


def _replace_products(parent: nn.Module, dtype: Dtype) -> None:
    for name, child in parent.named_children():
        if isinstance(child, nn.Linear) or hasattr(child, "get_base_layer"):
            if dtype == "int8" or _pays_for_blocks([_with_changes(child)]):
                setattr(parent, name, PackedLinear(pack([child], dtype, many_rows=True)))
        elif dtype == "int8" and isinstance(child, nn.Conv2d) and child.in_channels > 1 and child.groups == 1:
            setattr(parent, name, PackedConv2d(child, dtype))
        else:
            _replace_products(child, dtype)


@final
class PackedLinear(nn.Module):
    """A projection in the place of a linear layer."""

    def __init__(self, projection: Projection) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, states: Float[Tensor, "*rows in_features"]) -> Float[Tensor, "*rows out_features"]:
        return self.projection(states)


@final
class PackedConv2d(nn.Module):
    """A convolution without padding as a projection of its windows (im2col)."""

    def __init__(self, conv: nn.Conv2d, dtype: Dtype) -> None:
        super().__init__()
        assert set(conv.padding) == {0} and set(conv.dilation) == {1}
        self._kernel_size, self._stride = conv.kernel_size, conv.stride
        channels, (height, width) = conv.in_channels, conv.kernel_size
        linear = nn.Linear(height * width * channels, conv.out_channels, bias=conv.bias is not None)
        linear.weight = nn.Parameter(conv.weight.detach().permute(0, 2, 3, 1).flatten(1))
        if conv.bias is not None:
            linear.bias = nn.Parameter(conv.bias.detach())
        self.projection = pack([linear], dtype)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch out_channels out_height out_width"]:
        # [batch, out_height, out_width, channels, kernel_height, kernel_width]: views into what lies channels last
        windows = images.permute(0, 2, 3, 1)
        for axis, (size, step) in enumerate(zip(self._kernel_size, self._stride, strict=True), start=1):
            windows = windows.unfold(axis, size, step)
        return self.projection(windows.permute(0, 1, 2, 4, 5, 3).flatten(3)).permute(0, 3, 1, 2)


def _with_changes(layer: nn.Module) -> nn.Linear:
    """A linear layer as it computes: itself, or peft's layer around one as a plain layer."""
    if isinstance(layer, nn.Linear):
        return layer
    wrapping: Any = layer  # peft's, which is not imported for this
    base: nn.Linear = wrapping.get_base_layer()
    if wrapping.merged or wrapping.disable_adapters:
        return base
    deltas = [wrapping.get_delta_weight(name) for name in wrapping.active_adapters if name in wrapping.lora_A]
    changed = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    changed.weight = nn.Parameter(base.weight + sum(delta.to(base.weight) for delta in deltas), requires_grad=False)
    changed.bias = base.bias
    return changed


def _weight_and_bias(layers: Sequence[nn.Linear], dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """The weights and biases one below the other; a layer without a bias counts as one of zeros beside others."""
    if len(layers) == 1:
        bias = layers[0].bias
        return layers[0].weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
    biases: list[Tensor] = [
        layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach() for layer in layers
    ]
    return torch.cat([layer.weight.detach() for layer in layers]).to(dtype), torch.cat(biases).to(dtype)


def _product_of_one_row(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The product of one row: what has more outputs than inputs is read fastest input by input."""
    num_outputs, num_inputs = weight.shape
    if num_outputs <= num_inputs:
        return lambda states: F.linear(states, weight, bias)
    transposed = weight.t().contiguous()
    bias = weight.new_zeros(num_outputs) if bias is None else bias
    return lambda states: torch.addmm(bias, states.reshape(1, num_inputs), transposed).view(
        *states.shape[:-1], num_outputs
    )


def _pays_for_blocks(layers: Sequence[nn.Linear]) -> bool:
    return (
        _has_onednn()
        and layers[0].weight.device.type == "cpu"
        and sum(layer.weight.numel() for layer in layers) >= _FEWEST_BLOCKED
    )


def _has_onednn() -> bool:
    return _is_x86() and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _has_fbgemm() -> bool:
    return _is_x86() and "fbgemm" in torch.backends.quantized.supported_engines

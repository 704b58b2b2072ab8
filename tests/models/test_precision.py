"""Projections in every precision against torch's linear layer; tolerances are what the stored weights can hold."""

from __future__ import annotations

import platform

import pytest
import torch
from torch import nn

from skipwise.errors import SkipwiseError
from skipwise.models import precision
from skipwise.models.precision import (
    DTYPES,
    BlockedProjection,
    Dtype,
    PackedConv2d,
    PackedLinear,
    PlainProjection,
    check_dtype,
    pack,
    packed_copy,
)

CPU = torch.device("cpu")
needs_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="packed weights are x86 only")
# relative to the largest output: 11 bits of fp16, 8 of bf16, 7 of int8 in weights and in activations
RELATIVE = {"fp32": 0.0, "fp16-packed": 1e-3, "bf16": 2e-2, "int8": 2e-2}


@pytest.fixture
def layers() -> list[nn.Linear]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Linear(48, width, bias=width != 24) for width in (32, 24, 80)]


def states_of(dtype: Dtype, *shape: int) -> torch.Tensor:
    states = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    return states.to(precision.activation_dtype(dtype))


@needs_x86
@torch.no_grad()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 48), (5, 48), (2, 7, 48), (3, 1, 20, 48)])
def test_a_packed_layer_is_the_layer(layers: list[nn.Linear], dtype: Dtype, shape: tuple[int, ...]) -> None:
    states = states_of(dtype, *shape)
    for layer in layers:
        expected = layer(states.float())
        found = pack([layer], dtype)(states).float()
        assert found.shape == expected.shape
        error = float((found - expected).abs().max() / expected.abs().max())
        assert error <= RELATIVE[dtype]
        assert (error > 0) == (dtype != "fp32"), "else nothing was packed"


@needs_x86
@torch.no_grad()
@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_side_by_side_are_each_of_them(layers: list[nn.Linear], dtype: Dtype) -> None:
    states = states_of(dtype, 6, 48)
    together = pack(layers, dtype)
    assert (together.in_features, together.out_features) == (48, 136)
    expected = torch.cat([layer(states.float()) for layer in layers], dim=-1)
    difference = (together(states).float() - expected).abs().max() / expected.abs().max()
    assert float(difference) <= max(RELATIVE[dtype], 1e-6)


@pytest.fixture
def large_layers() -> list[nn.Linear]:
    """Layers that pay for another order of their weights: more outputs than inputs, fewer, and no bias."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [
            nn.Linear(200, 640),
            nn.Linear(640, 200),
            nn.Linear(200, 640, bias=False),
            nn.Linear(400, 400, bias=False),
        ]


@needs_x86
@torch.no_grad()
@pytest.mark.parametrize("dtype", ["fp32", "fp16-packed"])
@pytest.mark.parametrize("many_rows", [False, True])
@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), (1, 5), (2, 3), (4, 1, 9), (60,), (0,)])
def test_large_fp32_layers_are_blocked(
    large_layers: list[nn.Linear], dtype: Dtype, many_rows: bool, shape: tuple[int, ...]
) -> None:
    for layer in large_layers:
        projection = pack([layer], dtype, many_rows=many_rows)
        assert isinstance(projection, BlockedProjection) == (dtype == "fp32" or many_rows)
        states = states_of("fp32", *shape, layer.in_features)
        expected, found = layer(states), projection(states)
        assert found.is_contiguous()
        torch.testing.assert_close(
            found, expected, rtol=0, atol=1e-5 if isinstance(projection, BlockedProjection) else 5e-3
        )
        strided = states_of("fp32", layer.in_features, *shape).movedim(0, -1)
        torch.testing.assert_close(projection(strided), projection(strided.contiguous()))


@torch.no_grad()
def test_without_onednn_fp32_layers_are_as_torch_has_them(
    large_layers: list[nn.Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_has_onednn", lambda: False)
    assert all(isinstance(pack([layer], "fp32"), PlainProjection) for layer in large_layers)
    module = nn.Sequential(*large_layers[:2])
    assert all(isinstance(layer, nn.Linear) for layer in packed_copy(module, "fp32").children())


def test_a_projection_knows_what_it_reads(layers: list[nn.Linear]) -> None:
    sizes = {dtype: pack(layers, dtype).num_weight_bytes for dtype in ("fp32", "bf16")}
    assert sizes == {"fp32": 48 * 136 * 4, "bf16": 48 * 136 * 2}


def test_weights_of_a_single_fp32_layer_are_shared(layers: list[nn.Linear]) -> None:
    projection = pack([layers[0]], "fp32")
    before = projection(torch.ones(1, 48))
    with torch.no_grad():
        layers[0].weight.add_(1.0)
    assert not torch.equal(projection(torch.ones(1, 48)), before)


@needs_x86
def test_weights_that_fp16_cannot_hold_are_refused(layers: list[nn.Linear]) -> None:
    with torch.no_grad():
        layers[0].weight[0, 0] = 70_000.0
    with pytest.raises(SkipwiseError, match=r"fp16-packed weights must be within 65504, got 70000\. Use fp32"):
        pack([layers[0]], "fp16-packed")


@needs_x86
@torch.no_grad()
def test_an_int8_copy_packs_the_linear_layers_and_leaves_the_module_alone() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = nn.LayerNorm(32)
        module = nn.Sequential(nn.Linear(16, 32), norm, nn.Sequential(nn.Linear(32, 8)))
    states = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    expected, weights = module(states), module.state_dict()
    copied = packed_copy(module, "int8")
    assert [type(copied.get_submodule(name)) for name in ("0", "2.0")] == [PackedLinear] * 2
    assert copied.get_parameter("1.weight") is norm.weight
    assert 0 < float((copied(states) - expected).abs().max()) < 0.1
    assert torch.equal(module(states), expected) and module.state_dict().keys() == weights.keys()
    assert torch.equal(packed_copy(module, "fp16-packed")(states), expected), "too small for another order"
    halved = packed_copy(module, "bf16")
    assert halved(states.bfloat16()).dtype == torch.bfloat16 and norm.weight.dtype == torch.float32


@needs_x86
@torch.no_grad()
@pytest.mark.parametrize("dtype", ["fp32", "fp16-packed"])
def test_an_fp32_copy_brings_large_layers_into_another_order(large_layers: list[nn.Linear], dtype: Dtype) -> None:
    module = nn.Sequential(large_layers[0], nn.ReLU(), nn.Sequential(large_layers[1], nn.Linear(200, 8)))
    copied = packed_copy(module, dtype)
    assert [type(copied.get_submodule(name)) for name in ("0", "2.0", "2.1")] == [PackedLinear, PackedLinear, nn.Linear]
    states = states_of("fp32", 7, 200)
    torch.testing.assert_close(copied(states), module(states), rtol=0, atol=1e-5)
    assert module[0] is large_layers[0]


@needs_x86
@torch.no_grad()
def test_a_copy_has_the_low_rank_changes_of_its_layers(large_layers: list[nn.Linear]) -> None:
    peft = pytest.importorskip("peft")
    module: nn.Module = nn.Sequential(large_layers[0])
    states = states_of("fp32", 3, 200)
    before = module(states)
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), module)
    expected = module(states)
    assert not torch.allclose(expected, before)
    for dtype, atol in (("fp32", 1e-5), ("int8", 0.1)):
        copied = packed_copy(module, dtype)
        assert isinstance(copied.get_submodule("0"), PackedLinear)
        torch.testing.assert_close(copied(states), expected, rtol=0, atol=atol)


@needs_x86
@torch.no_grad()
def test_a_convolution_becomes_a_product() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv, depthwise = nn.Conv2d(6, 10, (3, 2), stride=(2, 1)), nn.Conv2d(6, 6, 3, groups=6)
        module, first = nn.Sequential(conv, nn.Sequential(depthwise)), nn.Conv2d(1, 6, 3, stride=2)
    copied = packed_copy(nn.Sequential(first, module), "int8")
    assert [type(copied.get_submodule(name)) for name in ("0", "1.0", "1.1.0")] == [nn.Conv2d, PackedConv2d, nn.Conv2d]
    images = torch.randn(2, 6, 11, 9, generator=torch.Generator().manual_seed(1))
    expected = conv(images)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = copied.get_submodule("1.0")(images.contiguous(memory_format=layout))
        assert 0 < float((found - expected).abs().max() / expected.abs().max()) < RELATIVE["int8"]


def checked(dtype: str, device: torch.device, *, num_weights: int = 40_000_000) -> Dtype:
    return check_dtype(dtype, device, num_weights=num_weights)


def test_auto_is_packed_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_has_fbgemm", lambda: True)
    assert checked("auto", CPU) == "fp16-packed"
    assert checked("auto", CPU, num_weights=1_000_000) == "fp32", "what stays in the caches is not packed"
    assert checked("fp16-packed", CPU, num_weights=1_000_000) == "fp16-packed"
    assert checked("auto", torch.device("cuda")) == "fp32"
    assert checked("int8", CPU) == "int8"
    with pytest.raises(SkipwiseError, match="fp16-packed is for x86 processors, got device cuda"):
        checked("fp16-packed", torch.device("cuda"))
    monkeypatch.setattr(precision, "_has_fbgemm", lambda: False)
    assert checked("auto", CPU) == "fp32" and checked("bf16", CPU) == "bf16"
    with pytest.raises(SkipwiseError, match="int8 is for x86 processors, got device cpu"):
        checked("int8", CPU)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SkipwiseError, match=r"auto or one of fp32, fp16-packed, int8, bf16; got 'fp8'"):
        checked("fp8", CPU)

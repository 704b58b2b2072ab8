"""OWSM holds the contract of a skipped branch: without a window, and in the 30 s window of the published models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import pytest
import torch
from torch import Tensor, nn

from skipwise.decoding import DecodeOptions, search
from skipwise.features import SpeechStates
from skipwise.gating import Context, GatePlan, GateSite
from skipwise.models.engine.decoder import DecoderGates, PackedDecoder
from skipwise.models.owsm.encoder import EncoderLayer
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.testing.case import FamilyCase, Gates, SharedModule
from skipwise.testing.suite import ConformanceSuite, PaddedBatchSuite
from tests.projections import counted_projections, executed
from tests.tiny import tiny_network, tone

AUDIO = (tone(1.3), tone(0.6, seed=1), tone(0.95, seed=2))
NUM_TEXT_TOKENS = 7
NUM_SEARCHED = 12


@final
class OwsmCase(FamilyCase):
    """2 + 2 layers of width 32.

    Measured over three seeds, both windows (one CPU thread), with logits up to 13: multiplied against skipped 2e-6,
    incremental against full 5e-6, batch against single 4e-6, and no ties.
    """

    contexts = (
        Context(language="deu", task="asr"),
        Context(language="fra", task="st_eng"),
        Context(language="eng", task="asr"),
    )
    tolerance = 5e-5

    def __init__(self, *, window_s: float | None) -> None:
        self._window_s = window_s

    def build(self, *, seed: int = 0) -> OwsmNetwork:
        return tiny_network(seed=seed, window_s=self._window_s)

    def sites(self, model: nn.Module) -> tuple[GateSite, ...]:
        return _owsm(model).config.gate_sites()

    def modules(self, model: nn.Module, site: GateSite) -> tuple[nn.Module, ...]:
        return (model.get_submodule(f"{site.stack}.layers.{site.layer}.{site.kind}"),)

    def shared_modules(self, model: nn.Module) -> list[SharedModule]:
        return [
            SharedModule(
                model.get_submodule(f"encoder.layers.{layer}.merge"),
                (GateSite("encoder", layer, "self_attn"), GateSite("encoder", layer, "cgmlp")),
            )
            for layer in range(_owsm(model).config.encoder_layers)
        ]

    def unconditional_modules(self, model: nn.Module) -> list[nn.Module]:
        layers = [f"encoder.layers.{layer}.final_norm" for layer in range(_owsm(model).config.encoder_layers)]
        rest = ["encoder.conv_embedding", "encoder.final_norm", "decoder.final_norm", "decoder.lm_head"]
        return [model.get_submodule(name) for name in (*layers, *rest)]

    def embed(self, model: nn.Module, rows: Sequence[int]) -> SpeechStates:
        network = _owsm(model)
        return network.embed(network.extract([torch.from_numpy(AUDIO[row]) for row in rows]))

    def encode(self, model: nn.Module, embedded: SpeechStates, gates: Gates) -> SpeechStates:
        return _owsm(model).encode(embedded, gates)

    def tokens(self, model: nn.Module, rows: Sequence[int]) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        text = torch.randint(1512, 1580, (len(self.contexts), NUM_TEXT_TOKENS), generator=generator)
        return torch.cat([self._prompts(model), text], dim=1)[list(rows)]

    def decode(self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, gates: Gates) -> Tensor:
        return _owsm(model).decode(tokens, encoded, gates)

    def decode_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> Tensor:
        return _in_chunks(OwsmEngine(_owsm(model)).decoder, tokens, encoded, plan, chunks)

    def executed_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> dict[GateSite, list[int]]:
        decoder = OwsmEngine(_owsm(model)).decoder
        with counted_projections(decoder) as counts:
            _in_chunks(decoder, tokens, encoded, plan, chunks)
        sites = [site for site in self.sites(model) if site.stack == "decoder"]
        return {site: executed(counts, site.layer, site.kind) for site in sites}

    def search(
        self, model: nn.Module, encoded: SpeechStates, rows: Sequence[int], plan: GatePlan | None
    ) -> list[list[int]]:
        prompts = self._prompts(model)[list(rows)].tolist()
        options = DecodeOptions(max_length_ratio=-NUM_SEARCHED)
        found = search(OwsmEngine(_owsm(model)), encoded, prompts, options=options, gates=plan)
        return [[*prompt, *found[row][0].tokens] for row, prompt in enumerate(prompts)]

    def _prompts(self, model: nn.Module) -> Tensor:
        config = _owsm(model).config
        return torch.tensor([config.prompt(str(context.language), str(context.task)) for context in self.contexts])


def _in_chunks(
    decoder: PackedDecoder, tokens: Tensor, encoded: SpeechStates, gates: DecoderGates, chunks: Sequence[int]
) -> Tensor:
    """The logits of whole prefixes that are fed in chunks."""
    state = decoder.start(encoded, gates)
    parts = [decoder.states(part[:, None], state)[:, 0] for part in tokens.split(list(chunks), dim=1)]
    assert state.length == tokens.shape[1]
    return decoder.logits(torch.cat(parts, dim=1))


def _owsm(model: nn.Module) -> OwsmNetwork:
    assert isinstance(model, OwsmNetwork)
    return model


@final
class TestOwsm(ConformanceSuite):
    @pytest.fixture(params=[None, 30.0], ids=["no window", "30 s window"])
    def case(self, request: pytest.FixtureRequest) -> OwsmCase:
        return OwsmCase(window_s=request.param)


@final
class TestOwsmPadding(PaddedBatchSuite):
    @pytest.fixture
    def case(self) -> OwsmCase:
        return OwsmCase(window_s=None)


@torch.no_grad()
def test_feature_padding_does_not_reach_the_conv_embedding() -> None:
    case = OwsmCase(window_s=None)
    network = case.build()
    features = network.extract([torch.from_numpy(samples) for samples in AUDIO])
    poisoned = SpeechStates(features.states.clone(), features.num_frames, features.num_real_frames)
    for row, end in enumerate(features.num_frames.tolist()):
        poisoned.states[row, end:] = 1e4
    clean, dirty = network.embed(features), network.embed(poisoned)
    assert not torch.equal(clean.states, dirty.states)
    assert torch.equal(clean.pooled(), dirty.pooled())
    for row, end in enumerate(clean.num_frames.tolist()):
        assert torch.equal(clean.states[row, :end], dirty.states[row, :end])


@torch.no_grad()
def test_the_padding_of_a_30_s_window_takes_part_in_attention() -> None:
    case = OwsmCase(window_s=30.0)
    network = case.build()
    embedded = case.embed(network, case.rows)
    assert embedded.num_frames.tolist() == [749] * 3 and max(embedded.num_real_frames.tolist()) < 40
    changed = SpeechStates(embedded.states.clone(), embedded.num_frames, embedded.num_real_frames)
    changed.states[:, 700:] *= -1.0
    states, other = network.encode(embedded).states, network.encode(changed).states
    assert float((states[:, :10] - other[:, :10]).abs().max()) > 10 * case.tolerance


@torch.no_grad()
def test_the_encoder_is_projected_once_an_utterance_and_never_without_source_attention() -> None:
    case = OwsmCase(window_s=None)
    network = case.build()
    encoded, tokens = case.encode(network, case.embed(network, case.rows), None), case.tokens(network, case.rows)
    plan = GatePlan.closing(network.config.gate_sites(), ["decoder.1.src_attn"], len(case.contexts))
    plan.gates[0, network.config.gate_sites().index(GateSite("decoder", 0, "src_attn"))] = False
    decoder = OwsmEngine(network).decoder
    with counted_projections(decoder) as counts:
        _in_chunks(decoder, tokens, encoded, plan, [1] * tokens.shape[1])
    two_rows = [2 * encoded.states.shape[1]]
    assert [counts[layer, f"src_attn.{side}"] for layer in (0, 1) for side in ("key", "value")] == [
        two_rows,
        two_rows,
        [],
        [],
    ]


@torch.no_grad()
def test_a_closed_half_leaves_zeros_to_the_merge() -> None:
    """y = merge([g_att * att, g_mlp * cgmlp]): not the merge of the open half alone, and not the branch itself."""
    case = OwsmCase(window_s=None)
    network = case.build()
    layer = network.encoder.layers[0]
    assert isinstance(layer, EncoderLayer)
    hidden = torch.randn(2, 9, network.config.hidden_size, generator=torch.Generator().manual_seed(0))
    plan = GatePlan.closing(case.sites(network), ["encoder.0.cgmlp", "encoder.0.ffn1", "encoder.0.ffn2"], 2)
    found = layer(hidden, None, plan.layer_gates("encoder", 2)[0])
    both = torch.cat([layer.self_attn(hidden, None), torch.zeros_like(hidden)], dim=-1)
    smoothed = both + nn.functional.conv1d(
        both.transpose(1, 2), layer.merge.conv.weight, layer.merge.conv.bias, padding=7, groups=both.shape[-1]
    ).transpose(1, 2)
    expected = layer.final_norm(hidden + layer.merge.out_proj(smoothed))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)

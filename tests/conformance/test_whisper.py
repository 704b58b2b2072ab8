"""Whisper holds what every family must; and transformers' own passes follow the same plans as ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration

from skipwise.decoding import DecodeOptions, search
from skipwise.features import SpeechStates
from skipwise.gating import Context, GatePlan, GateSite
from skipwise.models.attach import gated
from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.engine import WhisperEngine
from skipwise.testing.case import FamilyCase, Gates, SharedModule, as_sample, assert_same, differs
from skipwise.testing.suite import ConformanceSuite
from tests.projections import counted_projections, executed
from tests.tiny import tone
from tests.tiny_whisper import features_of, tiny_whisper, token

AUDIO = [tone(0.9, seed=1), tone(0.5, seed=2), tone(0.7, seed=3)]
NUM_TEXT_TOKENS = 9
NUM_SEARCHED = 12

_NAMES = {
    "self_attn": ("self_attn_layer_norm", "self_attn"),
    "src_attn": ("encoder_attn_layer_norm", "encoder_attn"),
    "ffn": ("final_layer_norm", "fc1", "fc2"),
}


@final
class WhisperCase(FamilyCase):
    """2 + 3 layers, windows of a second; decoded over a cache of transformers' or by our engine.

    Measured: multiplied against skipped 0, incremental against full 2e-6, batch against single 5e-6, and no ties.
    """

    contexts = (
        Context(language="deu", task="asr"),
        Context(language="fra", task="st_eng"),
        Context(language="eng", task="asr"),
    )
    tolerance = 5e-5

    def __init__(self, *, packed: bool = False) -> None:
        self._packed = packed

    def build(self, *, seed: int = 0) -> WhisperForConditionalGeneration:
        return tiny_whisper(seed=seed)

    def sites(self, model: nn.Module) -> tuple[GateSite, ...]:
        return stacks.gate_sites(_whisper(model))

    def modules(self, model: nn.Module, site: GateSite) -> tuple[nn.Module, ...]:
        layer = model.get_submodule(f"model.{site.stack}.layers.{site.layer}")
        return tuple(layer.get_submodule(name) for name in _NAMES[site.kind])

    def shared_modules(self, model: nn.Module) -> list[SharedModule]:
        return []

    def unconditional_modules(self, model: nn.Module) -> list[nn.Module]:
        names = ("model.encoder.conv1", "model.encoder.layer_norm", "model.decoder.layer_norm", "proj_out")
        return [model.get_submodule(name) for name in names]

    def embed(self, model: nn.Module, rows: Sequence[int]) -> SpeechStates:
        return stacks.embed(_whisper(model), stacks.window_features(features_of([AUDIO[row] for row in rows])))

    def encode(self, model: nn.Module, embedded: SpeechStates, gates: Gates) -> SpeechStates:
        return stacks.encode(_whisper(model), embedded, gates)

    def tokens(self, model: nn.Module, rows: Sequence[int]) -> Tensor:
        text = torch.randint(0, 256, (len(self.contexts), NUM_TEXT_TOKENS), generator=torch.Generator().manual_seed(0))
        return torch.cat([prompts(), text], dim=1)[list(rows)]

    def decode(self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, gates: Gates) -> Tensor:
        return stacks.decode(_whisper(model), tokens, encoded, gates)

    def decode_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> Tensor:
        parts = tokens.split(list(chunks), dim=1)
        if self._packed:
            return _in_chunks(WhisperEngine(_whisper(model)).decoder, parts, encoded, plan)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = [stacks.decode(_whisper(model), part, encoded, plan, cache=cache) for part in parts]
        assert [cache.get_seq_length(layer) for layer in range(3)] == [tokens.shape[1]] * 3  # whatever is closed
        return torch.cat(logits, dim=1)

    def executed_incrementally(
        self, model: nn.Module, tokens: Tensor, encoded: SpeechStates, plan: GatePlan | None, *, chunks: Sequence[int]
    ) -> dict[GateSite, list[int]]:
        sites = [site for site in self.sites(model) if site.stack == "decoder"]
        if self._packed:
            decoder = WhisperEngine(_whisper(model)).decoder
            with counted_projections(decoder) as counts:
                _in_chunks(decoder, tokens.split(list(chunks), dim=1), encoded, plan)
            return {site: executed(counts, site.layer, site.kind) for site in sites}
        with positions_of([self.modules(model, site)[0] for site in sites]) as positions:
            self.decode_incrementally(model, tokens, encoded, plan, chunks=chunks)
        return dict(zip(sites, positions, strict=True))

    def search(
        self, model: nn.Module, encoded: SpeechStates, rows: Sequence[int], plan: GatePlan | None
    ) -> list[list[int]]:
        if self._packed:
            options, asked = DecodeOptions(max_length_ratio=-NUM_SEARCHED), prompts()[list(rows)].tolist()
            found = search(WhisperEngine(_whisper(model)), encoded, asked, options=options, gates=plan)
            return [[*prompt, *found[row][0].tokens] for row, prompt in enumerate(asked)]
        tokens, cache = prompts()[list(rows)], EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = stacks.decode(_whisper(model), tokens, encoded, plan, cache=cache)
        for _ in range(NUM_SEARCHED):
            new = logits[:, -1:].argmax(dim=-1)
            tokens = torch.cat([tokens, new], dim=1)
            logits = stacks.decode(_whisper(model), new, encoded, plan, cache=cache)
        return tokens.tolist()


def prompts() -> Tensor:
    """The prompt of each context [B, 4]."""
    asked = (("de", "transcribe"), ("fr", "translate"), ("en", "transcribe"))
    names = [("startoftranscript", language, task, "notimestamps") for language, task in asked]
    return torch.tensor([[token(name) for name in row] for row in names])


@contextmanager
def positions_of(modules: Sequence[nn.Module]) -> Iterator[list[list[int]]]:
    """On how many rows and positions each module ran, call by call, during the block."""
    counts: list[list[int]] = [[] for _ in modules]

    def hook(count: list[int]):
        return lambda _, args: count.append(args[0].shape[0] * args[0].shape[1])

    handles = [module.register_forward_pre_hook(hook(count)) for module, count in zip(modules, counts, strict=True)]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def _in_chunks(decoder: PackedDecoder, parts: Sequence[Tensor], encoded: SpeechStates, plan: GatePlan | None) -> Tensor:
    state = decoder.start(encoded, plan)
    return decoder.logits(torch.cat([decoder.states(part[:, None], state)[:, 0] for part in parts], dim=1))


def _whisper(model: nn.Module) -> WhisperForConditionalGeneration:
    assert isinstance(model, WhisperForConditionalGeneration)
    return model


@final
class TestWhisper(ConformanceSuite):
    @pytest.fixture(params=[False, True], ids=["transformers' cache", "our engine"])
    def case(self, request: pytest.FixtureRequest) -> WhisperCase:
        return WhisperCase(packed=request.param)


@torch.no_grad()
def test_our_dense_pass_is_transformers_own_bit_for_bit() -> None:
    case = WhisperCase()
    model = case.build()
    theirs = model(features_of(AUDIO), decoder_input_ids=case.tokens(model, case.rows))
    states, logits = case.run(model, None)
    assert torch.equal(states.states, theirs.encoder_last_hidden_state)
    assert torch.equal(logits, theirs.logits)


@torch.no_grad()
def test_in_a_gated_block_transformers_own_pass_is_ours() -> None:
    case = WhisperCase()
    model = case.build()
    plan, base = case.random_plan(model), case.run(model, None)
    ours = case.run(model, plan)
    with gated(model, plan):
        theirs = model(features_of(AUDIO), decoder_input_ids=case.tokens(model, case.rows))
    assert torch.equal(ours[0].states, theirs.encoder_last_hidden_state)
    assert torch.equal(ours[1], theirs.logits)
    assert differs(ours, base, by=10 * case.tolerance)


@torch.no_grad()
def test_an_attached_adapter_decides_in_transformers_own_pass_as_in_ours() -> None:
    case = WhisperCase()
    model = case.build()
    case.attach_random_gates(model)
    plan, ours = case.run_planned(model, case.rows)
    assert 0.1 < plan.sparsity() < 0.9 and len({plan.key(row) for row in case.rows}) == 3
    theirs = model(features_of(AUDIO), decoder_input_ids=case.tokens(model, case.rows))
    found = SpeechStates(theirs.encoder_last_hidden_state, ours[0].num_frames, ours[0].num_real_frames)
    assert_same((found, theirs.logits), ours, tolerance=0)


@torch.no_grad()
def test_gates_that_multiply_are_the_plan_in_transformers_own_pass() -> None:
    case = WhisperCase()
    model = case.build()
    plan = case.random_plan(model, seed=3)
    with gated(model, plan):
        theirs = model(features_of(AUDIO), decoder_input_ids=case.tokens(model, case.rows))
    multiplied = case.run(model, as_sample(plan))
    torch.testing.assert_close(theirs.logits, multiplied[1], rtol=0, atol=case.tolerance)

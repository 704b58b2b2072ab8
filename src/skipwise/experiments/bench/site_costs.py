"""What each site takes in a dense run: its branch is timed where it runs, between the others, with its caches.

The other way, the difference between a dense run and one without the site, is smaller than the noise between two runs
for all but the largest sites.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from skipwise.experiments.bench.subject import decode_once, encode_once
from skipwise.features import SpeechStates
from skipwise.gating import GateSite
from skipwise.models.engine.decoder import PackedDecoder
from skipwise.models.engine.state import DECODER_KINDS
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.precision import PackedLinear

_ENCODER_KINDS = ("ffn1", "self_attn", "cgmlp", "ffn2")

Seconds = dict[GateSite, float]
MERGE = "merge"


@final
class SiteClock:
    """Adds up the seconds of each site; `merge` is no site, and runs if one of two does."""

    def __init__(self) -> None:
        self.seconds: dict[GateSite, float] = defaultdict(float)

    def running(self, site: GateSite, work: Callable[[], Any]) -> Any:
        """Return what `work` returns, and count its time."""
        start = time.perf_counter()
        done = work()
        self.seconds[site] += time.perf_counter() - start
        return done


@contextmanager
def timed_branches(decoder: PackedDecoder, clock: SiteClock) -> Iterator[None]:
    """Have every branch of a decoder tell the clock how long it ran, until the block ends."""
    sites = {
        id(getattr(layer, kind)): GateSite("decoder", index, kind)
        for index, layer in enumerate(decoder.layers)
        for kind in DECODER_KINDS
    }
    with ExitStack() as undo:
        for kind in {type(getattr(layer, kind)) for layer in decoder.layers for kind in DECODER_KINDS}:
            usual = kind.__call__

            def call(branch: Any, *args: Any, usual: Callable[..., Tensor] = usual) -> Tensor:
                site = sites.get(id(branch))
                return usual(branch, *args) if site is None else clock.running(site, lambda: usual(branch, *args))

            undo.callback(setattr, kind, "__call__", usual)
            kind.__call__ = call  # type: ignore[method-assign]
        yield


@contextmanager
def timed_modules(layers: Sequence[nn.Module], clock: SiteClock) -> Iterator[None]:
    """Have every branch of an encoder, and its merge, tell the clock how long it ran, until the block ends."""
    starts: dict[GateSite, float] = {}

    def before(site: GateSite) -> Callable[..., None]:
        return lambda *_: starts.__setitem__(site, time.perf_counter())

    def after(site: GateSite) -> Callable[..., None]:
        def add(*_: Any) -> None:
            clock.seconds[site] += time.perf_counter() - starts[site]

        return add

    with ExitStack() as undo:
        for index, layer in enumerate(layers):
            for kind in (*_ENCODER_KINDS, MERGE):
                site, module = GateSite("encoder", index, kind), layer.get_submodule(kind)
                undo.callback(module.register_forward_pre_hook(before(site)).remove)
                undo.callback(module.register_forward_hook(after(site)).remove)
        yield


def decoder_site_seconds(
    engine: OwsmEngine, encoded: SpeechStates, prompt: list[int], *, num_tokens: int, beam_size: int, rounds: int
) -> Seconds:
    """Return the median seconds of each decoder site over a whole decoding, prompt and projections included."""
    return _medians(
        rounds,
        lambda clock: _run_in(
            timed_branches(engine.decoder, clock),
            lambda: decode_once(engine, encoded, prompt, num_tokens=num_tokens, beam_size=beam_size),
        ),
    )


def encoder_site_seconds(engine: OwsmEngine, waveforms: list[Tensor], *, rounds: int) -> Seconds:
    """Return the median seconds of each encoder site, and of each layer's merge, over one encoding."""
    return _medians(
        rounds,
        lambda clock: _run_in(
            timed_modules(list(engine.encoder_layers), clock), lambda: encode_once(engine, waveforms)
        ),
    )


def _run_in(context: Any, work: Callable[[], object]) -> None:
    with context:
        work()


def _medians(rounds: int, run: Callable[[SiteClock], None]) -> Seconds:
    found: dict[GateSite, list[float]] = defaultdict(list)
    run(SiteClock())  # warm-up
    for _ in range(rounds):
        clock = SiteClock()
        run(clock)
        for site, seconds in clock.seconds.items():
            found[site].append(seconds)
    return {site: statistics.median(seconds) for site, seconds in found.items()}


@torch.no_grad()
def weight_bytes(engine: OwsmEngine) -> dict[GateSite, int]:
    """Return the bytes of weights that each site reads."""
    decoder = {
        GateSite("decoder", index, kind): getattr(layer, kind).num_weight_bytes
        for index, layer in enumerate(engine.decoder.layers)
        for kind in DECODER_KINDS
    }
    encoder = {
        GateSite("encoder", index, kind): _module_bytes(layer.get_submodule(kind))
        for index, layer in enumerate(engine.encoder_layers)
        for kind in _ENCODER_KINDS
    }
    return encoder | decoder


def _module_bytes(module: nn.Module) -> int:
    plain = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
    return plain + sum(part.projection.num_weight_bytes for part in module.modules() if isinstance(part, PackedLinear))

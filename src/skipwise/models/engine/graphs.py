"""A decoding step without Python in the way: a branch is captured once as a CUDA graph, and replayed where it is open.

A graph is bound to addresses: a branch works in place on buffers that outlive the searches and are lent to one of them
at a time, for so many beams and encoder frames. A closed branch is a graph that is not replayed. Elsewhere than on a
GPU the same work runs as it is, which is how it is tested.

Shapes: K beams, N positions that there is room for, T encoder frames, H heads, C head width, D width.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skipwise.gating import GatePlan, GateSite
from skipwise.models.cache import KeyValues, SourceKeyValues
from skipwise.models.engine.branches import Source
from skipwise.models.engine.state import DECODER_KINDS, DecoderState, PackedLayer, UtteranceState

_SMALLEST_ROOM = 64
_WARM_UP_RUNS = 3

Work = Callable[[], None]


@final
@dataclass(frozen=True)
class BufferSize:
    """What a set of buffers has room for."""

    num_beams: int
    num_frames: int
    num_positions: int


@final
class StepBuffers:
    """Where the branches of a decoder work on one utterance's beams, one new position at a time."""

    def __init__(self, layers: Sequence[PackedLayer], size: BufferSize, like: Float[Tensor, "*rows dim"]) -> None:
        self.size = size
        self._layers = tuple(layers)
        self.hidden = like.new_zeros(size.num_beams, 1, like.shape[-1])
        self.position = torch.zeros(1, dtype=torch.long, device=like.device)
        """The position that is fed."""
        self._places = torch.arange(size.num_positions, device=like.device)
        self._self_attn = [
            _key_values(layer.self_attn.num_heads, size.num_beams, size.num_positions, like) for layer in layers
        ]
        self._src_attn = [_key_values(layer.src_attn.num_heads, 1, size.num_frames, like) for layer in layers]
        self._captured: dict[tuple[int, str, int], Work] = {}

    def load(self, own: Sequence[KeyValues | None], of_source: Sequence[SourceKeyValues | None]) -> None:
        """Take over what each layer has stored so far; None where it never runs."""
        for stored, into in zip([*own, *of_source], [*self._self_attn, *self._src_attn], strict=True):
            if stored is not None:
                for old, new in zip(stored, into, strict=True):
                    new[:, :, : old.shape[2]] = old

    def own_key_values(self) -> list[KeyValues | None]:
        """Return those of self-attention, layer by layer."""
        return list(self._self_attn)

    def source_key_values(self) -> list[SourceKeyValues | None]:
        """Return those of source attention, layer by layer."""
        return list(self._src_attn)

    def reorder(self, parents: Int[Tensor, " beams"], length: int) -> None:
        """Make beam k what beam `parents[k]` was, in its first `length` positions."""
        for stored in self._self_attn:
            for tensor in stored:
                tensor[:, :, :length] = tensor[:, :, :length].index_select(0, parents)

    def run(self, layer: int, kind: str, length: int) -> None:
        """Add what a branch says to `hidden`; the new position is the one after `length`."""
        room = self._room(length + 1) if kind == "self_attn" else 0
        key = (layer, kind, room)
        if key not in self._captured:
            self._captured[key] = self._capture(self._work(layer, kind, room))
        self._captured[key]()

    def _room(self, length: int) -> int:
        """Positions that are read: a power of two, so that there are few graphs."""
        return min(self.size.num_positions, max(_SMALLEST_ROOM, 1 << (length - 1).bit_length()))

    def _work(self, layer: int, kind: str, room: int) -> Work:
        packed, hidden, position = self._layers[layer], self.hidden, self.position
        own, of_source, places = self._self_attn[layer], self._src_attn[layer], self._places[:room]

        def work() -> None:
            if kind == "self_attn":
                hidden.add_(packed.self_attn.at_position(hidden, own, places, position))
            elif kind == "src_attn":
                hidden.add_(packed.src_attn.over(hidden.transpose(0, 1), of_source).transpose(0, 1))
            else:
                hidden.add_(packed.ffn(hidden))

        return work

    def _capture(self, work: Work) -> Work:
        """Return what does `work` again: on a GPU by one launch."""
        if not self.hidden.is_cuda:
            return work
        before, stream = self.hidden.clone(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        self.hidden.copy_(before)  # the warm-up added to it; keys and values are written again by the replay
        return graph.replay


@final
class BufferPool:
    """Lends buffers to searches, one at a time, and keeps them for the next with the graphs that were captured."""

    def __init__(self, layers: Sequence[PackedLayer]) -> None:
        self._layers = tuple(layers)
        self._free: dict[BufferSize, list[StepBuffers]] = defaultdict(list)
        self._lock = threading.Lock()

    def lend(self, size: BufferSize, like: Float[Tensor, "*rows dim"], borrower: object) -> StepBuffers:
        """Return buffers that are `borrower`'s until nothing refers to it any more."""
        with self._lock:
            buffers = self._free[size].pop() if self._free[size] else None
        if buffers is None:
            buffers = StepBuffers(self._layers, size, like)
        weakref.finalize(borrower, self._take_back, buffers)
        return buffers

    def _take_back(self, buffers: StepBuffers) -> None:
        with self._lock:
            self._free[buffers.size].append(buffers)


@final
class GraphedState(DecoderState):
    """One utterance under a plan that stays the same: the prompt runs as usual, every step after it by replays."""

    def __init__(self, source: Source, plan: GatePlan | None, pool: BufferPool, num_layers: int) -> None:
        super().__init__(source)
        assert source.states.shape[0] == 1
        self._prompt = UtteranceState(source, plan, num_layers)
        self._pool = pool
        self._closed = frozenset[GateSite]() if plan is None else frozenset(plan.closed())
        self._buffers: StepBuffers | None = None

    def run(
        self,
        layers: Sequence[PackedLayer],
        hidden: Float[Tensor, "rows new dim"],
        embedded: Float[Tensor, "rows new dim"],
        is_start: Bool[Tensor, "rows new"],
    ) -> Float[Tensor, "rows new dim"]:
        if self._buffers is None and (hidden.shape[1] > 1 or self.length == 0):
            hidden = self._prompt.run(layers, hidden, embedded, is_start)
            self.length = self._prompt.length
            return hidden
        assert hidden.shape[1] == 1
        buffers = self._buffers_for(hidden)
        buffers.hidden.copy_(hidden)
        buffers.position.fill_(self.length)
        for layer in range(len(layers)):
            for kind in DECODER_KINDS:
                if GateSite("decoder", layer, kind) not in self._closed:
                    buffers.run(layer, kind, self.length)
        self.length += 1
        return buffers.hidden.clone()

    def gates_of(self, utterance: int, beam: int) -> None:
        return None

    def _buffers_for(self, hidden: Float[Tensor, "rows new dim"]) -> StepBuffers:
        old, num_frames = self._buffers, self.source.states.shape[1]
        if old is not None and self.length < old.size.num_positions:
            return old
        # a token a frame and a prompt: as a rule this is all that is ever needed
        room = 1 << (2 * max(num_frames, self.length)).bit_length()
        buffers = self._pool.lend(BufferSize(self.num_beams, num_frames, room), hidden, self)
        stored = self._prompt if old is None else old
        buffers.load(stored.own_key_values(), stored.source_key_values())
        self._buffers = buffers
        return buffers

    def _reorder(self, parents: Int[Tensor, "batch new_beams"], unchanged: int) -> None:
        if self._buffers is None:
            self._prompt.reorder(parents, unchanged=unchanged)
        else:
            self._buffers.reorder(parents[0], self.length)

    def _keep(self, utterances: Int[Tensor, " kept"]) -> None:
        assert utterances.tolist() == [0]


def _key_values(num_heads: int, rows: int, length: int, like: Tensor) -> KeyValues:
    shape = (rows, num_heads, length, like.shape[-1] // num_heads)
    return like.new_zeros(shape), like.new_zeros(shape)

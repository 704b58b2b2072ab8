"""The same checkpoint in ESPnet's hands and in ours, and what to ask both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.bin.s2t_inference import Speech2Text
from torch import Tensor, nn

from skipwise import Context, GateConfig, GatePlan, attach, detach
from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.search import search
from skipwise.features import SpeechStates
from skipwise.gating import MlpPredictorConfig
from skipwise.gating.adapter import GateAdapter
from skipwise.gating.predictors import PredictorConfig
from skipwise.gating.sites import GateSite
from skipwise.models.attach import network_of
from skipwise.models.espnet.call import Decider
from skipwise.models.espnet.utterances import utterances
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import OwsmModel
from tests.interop.clips import clip
from tests.interop.espnet_side import EXP, WEIGHTS_FILE
from tests.interop.matrix import Options, Row
from tests.interop.skipwise_side import decode_options, prompt_of

TOLERANCE = 1e-4
"""Of hidden states: what the oracle allows between ESPnet's fp32 and ours."""

SECONDS = (1.3, 4.0, 2.2)
CONTEXTS = (
    Context(language="deu", task="asr"),
    Context(language="fra", task="st_eng"),
    Context(language="eng", task="asr"),
)
CLIPS = [clip(seconds, seed=seed) for seed, seconds in enumerate(SECONDS)]
NUM_REAL = [len(samples) for samples in CLIPS]

# a closed site's module and its layer norm, by ESPnet's names
_MODULES = {
    "encoder": {
        "ffn1": ("feed_forward_macaron", "norm_ff_macaron"),
        "self_attn": ("attn", "norm_mha"),
        "cgmlp": ("cgmlp", "norm_mlp"),
        "ffn2": ("feed_forward", "norm_ff"),
    },
    "decoder": {
        "self_attn": ("self_attn", "norm1"),
        "src_attn": ("src_attn", "norm2"),
        "ffn": ("feed_forward", "norm3"),
    },
}


def speech2text(folder: Path, **options: Any) -> Speech2Text:
    return Speech2Text(str(folder / EXP / "config.yaml"), str(folder / EXP / WEIGHTS_FILE), **options)


def random_gates(model: Any, *, predictor: PredictorConfig | None = None, seed: int = 0) -> GateAdapter:
    """Gates on both stacks, attached, under which plans differ from utterance to utterance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        predictor = predictor or MlpPredictorConfig(open_bias=0.0, output_std=1.0)
        return attach(model, GateConfig(scope="both", predictor=predictor))


@contextmanager
def attached(model: Any, gates: GateAdapter | Path | GateConfig) -> Iterator[GateAdapter]:
    """Gates on a shared model, taken off whatever happens."""
    try:
        yield attach(model, gates)
    finally:
        detach(model)


def modules_of(model: Any, site: GateSite) -> list[nn.Module]:
    """What a closed site does not execute, everything inside included but the activation, which all FFNs share."""
    layer = (model.encoder.encoders if site.stack == "encoder" else model.decoder.decoders)[site.layer]
    tops = [layer.get_submodule(name) for name in _MODULES[site.stack][site.kind]]
    return [module for top in tops for name, module in top.named_modules() if name != "activation"]


def window(samples: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips as `Speech2Text` pads them: in windows of 30 s."""
    padded = torch.zeros(len(samples), 480_000)
    for row, own in zip(padded, samples, strict=True):
        row[: len(own)] = torch.from_numpy(own)
    return padded, torch.full((len(samples),), 480_000)


@dataclass(frozen=True)
class Run:
    """What a model computed."""

    encoder: Tensor
    logits: Tensor
    plan: GatePlan | None = None


def tokens_of(model: Any) -> Tensor:
    """Tokens of the three rows [3, 9]: prompt and text."""
    config = network_of(model).config
    prompts = torch.tensor([config.prompt(str(c.language), str(c.task)) for c in CONTEXTS])
    text = torch.randint(1512, 1560, (len(CONTEXTS), 5), generator=torch.Generator().manual_seed(0))
    return torch.cat([prompts, text], dim=1)


@torch.no_grad()
def run_espnet(model: Any, decider: Decider | None = None) -> Run:
    """All three clips through a live model, as its gates or `planner` decide."""
    speech, lengths = window(CLIPS)
    tokens = tokens_of(model)
    with utterances(model, contexts=CONTEXTS, num_real_samples=NUM_REAL, decider=decider) as call:
        encoded, num_frames = model.encode(speech, lengths)
        logits, _ = model.decoder(encoded, num_frames, tokens, torch.full((len(tokens),), tokens.shape[1]))
        plans = [call.decided(stack) for stack in ("encoder", "decoder")] if call.decided("decoder") else []
    joined = plans[0].join(plans[1]) if plans and all(isinstance(plan, GatePlan) for plan in plans) else None
    return Run(encoded, logits, joined)


@torch.no_grad()
def run_espnet_base(model: Any) -> Run:
    """All three clips through a model without gates."""
    speech, lengths = window(CLIPS)
    tokens = tokens_of(model)
    encoded, num_frames = model.encode(speech, lengths)
    logits, _ = model.decoder(encoded, num_frames, tokens, torch.full((len(tokens),), tokens.shape[1]))
    return Run(encoded, logits)


@torch.no_grad()
def embedded(port: OwsmModel) -> SpeechStates:
    return port.network.embed(port.network.extract([torch.from_numpy(samples) for samples in CLIPS]))


@torch.no_grad()
def run_port(port: OwsmModel, plan: GatePlan) -> Run:
    """The same in the port, under a plan."""
    encoded = port.network.encode(embedded(port), plan)
    return Run(encoded.states, port.network.decode(tokens_of(port.network), encoded, plan), plan)


@torch.no_grad()
def port_nbest(port: OwsmModel, plan: GatePlan, row: Row, options: Options) -> list[Hypothesis]:
    """The port's n-best list for one of the clips, under a plan."""
    encoded = port.network.encode(embedded(port).select(torch.tensor([row.clip])), plan)
    prompt = prompt_of(port, row)
    (found,) = search(OwsmEngine(port.network), encoded, [prompt], options=decode_options(options), gates=plan)
    return found

"""A tiny random OWSM for tests: real anatomy, real files, no training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from skipwise.gating import GateAdapter, GateConfig, MlpPredictorConfig, Scope
from skipwise.models.attach import attach
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.loading import OwsmModel, load_owsm, save_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary

LANGUAGES = ("deu", "eng", "fra")
TASKS = ("asr", "st_eng")
SENTENCES = (
    "Herr Präsident, wir danken der Kommission für den Bericht.",
    "Die Abgeordneten haben heute über den Haushalt abgestimmt.",
    "Mr President, we thank the Commission for the report.",
    "The members voted on the budget today.",
    "Monsieur le Président, nous remercions la Commission.",
    "Les députés ont voté aujourd'hui sur le budget.",
)


@lru_cache(maxsize=1)
def tiny_vocabulary() -> OwsmVocabulary:
    """Return a vocabulary learned from six sentences: some 1,600 tokens, nearly all of them timestamps."""
    return OwsmVocabulary.train(SENTENCES, languages=LANGUAGES, tasks=TASKS, size=75)


def tiny_architecture(*, window_s: float | None = None, **changes: Any) -> OwsmArchitecture:
    """Return the sizes: 2 + 2 layers of width 32, with `changes`."""
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "cgmlp_dim": 64,
        "cgmlp_kernel_size": 15,
        "merge_kernel_size": 15,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "window_s": window_s,
    }
    return OwsmArchitecture(**tiny_vocabulary().token_ids() | sizes | changes)


def tiny_network(*, seed: int = 0, window_s: float | None = None, **changes: Any) -> OwsmNetwork:
    """Return a random network in eval mode whose output depends on its input: large output weights, live biases."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = OwsmNetwork(tiny_architecture(window_s=window_s, **changes))
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
        # else a random decoder hears nothing of what was said, and says one token for ever
        embedding = network.encoder.conv_embedding.out_proj.weight
        embedding.copy_(10 * (embedding - embedding.mean(dim=1, keepdim=True)))
        for name, parameter in network.decoder.named_parameters():
            if name.endswith(("src_attn.attention.q_proj.weight", "src_attn.attention.out_proj.weight")):
                parameter.mul_(8.0)
        network.decoder.embed_tokens.weight.mul_(2.0)
        network.decoder.lm_head.weight.normal_(std=0.5)
        network.feature_mean.fill_(-9.0)
        network.feature_std.fill_(3.0)
    return network.eval()


def tiny_model(folder: Path, *, seed: int = 0, window_s: float | None = None, **changes: Any) -> OwsmModel:
    """Return the random model saved in `folder` by `save_owsm` and read again."""
    save_owsm(folder, tiny_network(seed=seed, window_s=window_s, **changes), tiny_vocabulary())
    return load_owsm(folder)


def attach_random_gates(network: OwsmNetwork, *, scope: Scope = "both", seed: int = 0) -> GateAdapter:
    """Return a random adapter, attached: about half of the sites are closed, and which depends on the whole context."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return attach(network, GateConfig(scope=scope, predictor=MlpPredictorConfig(open_bias=0.0, output_std=1.0)))


def tone(duration_s: float, *, seed: int = 0, rate: int = 16_000) -> Float32[np.ndarray, " samples"]:
    """Return something to hear: harmonics that wander, with a syllable's rhythm and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(duration_s * rate)) / rate
    pitch = rng.uniform(90, 220) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(rng.uniform(0.2, 1.0) * np.sin(k * phase) for k in range(1, 9))
    rhythm = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(2, 5) * time)
    samples = 0.05 * voice * rhythm + 0.002 * rng.standard_normal(len(time))
    return samples.astype(np.float32)

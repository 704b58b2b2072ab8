"""Whisper's formulae count what torch counts; and `evaluate` runs on a Whisper."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from skipwise.cli.main import app
from skipwise.evaluation.cost import count_macs, mac_weights
from skipwise.gating import GatePlan
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.engine import WhisperEngine
from tests.data.spoken import write_audio, write_lines
from tests.tiny import tone
from tests.tiny_whisper import save_tiny_whisper, tiny_whisper

PROMPT, NUM_FED = 4, 6
SIZES = {"d_model": 24, "encoder_ffn_dim": 56, "decoder_ffn_dim": 52, "decoder_attention_heads": 2}
"""That differ from each other, so that no two terms can be mixed up."""


@pytest.mark.parametrize(
    "closed",
    [
        (),
        ("encoder.0.ffn", "decoder.0.src_attn", "decoder.1.self_attn"),
        ("encoder.1.self_attn", "decoder.1.ffn", "decoder.1.src_attn", "decoder.2.src_attn"),
    ],
)
@torch.no_grad()
def test_the_formulae_count_what_torch_counts(closed: tuple[str, ...]) -> None:
    model = tiny_whisper(**SIZES)
    plan = GatePlan.closing(stacks.gate_sites(model), closed)
    engine = WhisperEngine(model)
    features = engine.extract([torch.from_numpy(tone(0.5))])
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as encoder:
            encoded = stacks.encode(model, stacks.embed(model, features), plan)
        with FlopCounterMode(display=False) as decoder:
            state = engine.decoder.start(encoded, plan)
            for num_new in (PROMPT, *[1] * NUM_FED):
                # the output layer of the first engine that is faster is not linear(), but the same products
                engine.decoder.logits(engine.decoder.states(torch.ones(1, 1, num_new, dtype=torch.long), state))
    counted = count_macs(
        model.config, duration_s=0.5, num_prompt_tokens=PROMPT, num_fed_tokens=NUM_FED, closed=plan.closed()
    )
    assert (counted.encoder, counted.decoder) == (encoder.get_total_flops() // 2, decoder.get_total_flops() // 2)


def test_a_budget_in_macs_weighs_every_site() -> None:
    model = tiny_whisper(**SIZES)
    weights = mac_weights(model.config, audio_s=0.5, num_tokens=NUM_FED)
    sites = stacks.gate_sites(model)
    whole = count_macs(model.config, duration_s=0.5, num_prompt_tokens=PROMPT, num_fed_tokens=NUM_FED).total
    for site, weight in zip(sites, weights, strict=True):
        without = count_macs(
            model.config, duration_s=0.5, num_prompt_tokens=PROMPT, num_fed_tokens=NUM_FED, closed=[site]
        )
        assert whole - without.total == weight > 0


def test_a_whisper_is_evaluated(tmp_path: Path) -> None:
    folder = save_tiny_whisper(tmp_path / "model")
    for name in ("a", "b"):
        write_audio(tmp_path / f"{name}.wav", 0.8)
    lines = [
        json.dumps({"id": name, "audio": f"{name}.wav", "language": language, "transcript": "Guten Tag."})
        for name, language in (("a", "deu"), ("b", "fra"))
    ]
    write_lines(tmp_path / "test.jsonl", *lines)
    arguments = ["evaluate", "--data", str(tmp_path / "test.jsonl"), "--model", str(folder), "--task", "asr"]
    result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "r.json")])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["settings"]["model"] == str(folder)
    assert "Loading" not in result.output

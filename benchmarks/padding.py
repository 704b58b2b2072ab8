"""What it saves to compute a window's zero padding once.

    python benchmarks/padding.py results/engine/padding.json

OWSM v3.1 base's shape with random weights, one window of 30 s. "whole": features and conv embedding of all 30 s, as
before; "once": as they are now. They take turns in one process; the ratio is the median over the turns' own ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from skipwise.features import SpeechStates
from skipwise.features.log_mel import log_mel, num_feature_frames
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.network import OwsmNetwork

WINDOW_SAMPLES = 30 * 16_000


@torch.inference_mode()
def front_whole(network: OwsmNetwork, waveform: Tensor) -> SpeechStates:
    """Features and conv embedding of the whole window."""
    padded = torch.nn.functional.pad(waveform, (0, WINDOW_SAMPLES - waveform.numel()))
    states = log_mel(padded, num_mel_bins=network.config.num_mel_bins)[None]
    frames = torch.tensor([states.shape[1]])
    everything = SpeechStates(states, frames, frames)  # all frames count as real
    embedded = network.embed(everything)
    real = torch.tensor([max(1, (num_feature_frames(waveform.numel()) - 1) // 4)])
    return SpeechStates(embedded.states, embedded.num_frames, real)


@torch.inference_mode()
def front_once(network: OwsmNetwork, waveform: Tensor) -> SpeechStates:
    """Features and conv embedding as the network computes them."""
    return network.embed(network.extract([waveform]))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(network: OwsmNetwork, audio_s: int, num_turns: int) -> dict[str, float]:
    """Medians of both ways, and of the encoder layers that follow."""
    waveform = 0.1 * torch.randn(audio_s * 16_000)
    whole, once = front_whole(network, waveform), front_once(network, waveform)
    with torch.inference_mode():
        layers_s = statistics.median(seconds(lambda: network.encode(once)) for _ in range(3))
    turns = [
        (seconds(lambda: front_whole(network, waveform)), seconds(lambda: front_once(network, waveform)))
        for _ in range(num_turns)
    ]
    return {
        "audio_s": audio_s,
        "front_whole_s": statistics.median(before for before, _ in turns),
        "front_once_s": statistics.median(after for _, after in turns),
        "layers_s": layers_s,
        "front_ratio": statistics.median(before / after for before, after in turns),
        "encoder_ratio": statistics.median((before + layers_s) / (after + layers_s) for before, after in turns),
        "largest_difference": float((whole.states - once.states).abs().max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    network = OwsmNetwork(OwsmArchitecture()).eval()
    console, rows = Console(), []
    for audio_s in (3, 10, 20, 30):
        rows.append(measured(network, audio_s, arguments.turns))
        console.print(rows[-1])
    record = {
        "command": f"python benchmarks/padding.py {arguments.output} --turns {arguments.turns}",
        "settings": {
            "shape": "OWSM v3.1 base, random weights, window 30 s, fp32",
            "threads": arguments.threads,
            "turns": arguments.turns,
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
        },
        "rows": rows,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

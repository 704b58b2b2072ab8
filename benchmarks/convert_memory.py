"""Peak memory of `convert_owsm` for a random OWSM of a given shape, there and back, as a multiple of its weights.

    python benchmarks/convert_memory.py --hidden-size 1024 --layers 18    # v3.1 medium: 4.07 GB

Each step runs in a process of its own, because a process begins with the peak of the one that started it. The peak is
`ru_maxrss`: pages of mapped files count in it, although the system may drop them. Free space needed: four times the
weights.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console


def make_model(folder: Path, hidden_size: int, layers: int, vocabulary: int) -> int:
    """Write a random model with the reference model's tokens and as many more as are asked for; return its bytes."""
    from skipwise.models.owsm.architecture import OwsmArchitecture
    from skipwise.models.owsm.loading import save_owsm
    from skipwise.models.owsm.network import OwsmNetwork
    from skipwise.models.owsm.vocabulary import OwsmVocabulary
    from skipwise.pipeline import reference_model

    known = OwsmVocabulary.load(reference_model())
    more = [f"more{index}" for index in range(vocabulary - len(known.tokens))]
    tokens = OwsmVocabulary([*known.tokens[:-3], *more, *known.tokens[-3:]], known.sentencepiece_model)
    sizes = {
        "hidden_size": hidden_size,
        **dict.fromkeys(("encoder_layers", "decoder_layers"), layers),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), hidden_size // 64),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "cgmlp_dim"), 4 * hidden_size),
    }
    network = OwsmNetwork(OwsmArchitecture(**tokens.token_ids() | sizes))
    save_owsm(folder, network, tokens)
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def peak_of_conversion(source: Path, target: Path, options: dict[str, Any]) -> int:
    """Convert, and return the peak of this process in bytes."""
    import torch

    from skipwise.models.owsm.convert import convert_owsm

    if "dtype" in options:
        options = options | {"dtype": getattr(torch, options["dtype"])}
    convert_owsm(source, target, **options)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_a_process(function: Callable[..., int], *arguments: Any) -> int:
    """Return what a function returns in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6, help="of the encoder, and as many of the decoder")
    parser.add_argument("--vocabulary", type=int, default=50_002)
    parser.add_argument("--place", type=Path, help="folder for the temporary models")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(dir=arguments.place) as name:
        place = Path(name)
        shape = (arguments.hidden_size, arguments.layers, arguments.vocabulary)
        size = in_a_process(make_model, place / "model", *shape)
        console.print(f"weights {size / 1e9:.2f} GB")
        steps: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("model", "espnet", {"to": "espnet"}),
            ("espnet", "back", {}),
            ("espnet", "half", {"dtype": "float16"}),
        )
        for source, target, options in steps:
            peak = in_a_process(peak_of_conversion, place / source, place / target, options)
            console.print(f"{source} to {target}: peak {peak / 1e9:.2f} GB, {peak / size:.2f} times the weights")


if __name__ == "__main__":
    main()

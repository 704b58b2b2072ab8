"""Peak memory of `convert_owsm` for a random OWSM of a given shape, there and back, as a multiple of its weights.

    python benchmarks/convert_memory.py --hidden-size 1024 --layers 18 --vocabulary 50002    # v3.1 medium: 4.07 GB

Each direction runs in a process of its own. The peak is `ru_maxrss`: pages of mapped files count in it, although the
system may drop them. Free space needed: three times the weights.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from rich.console import Console

from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.convert import Layout, convert_owsm
from skipwise.models.owsm.loading import save_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.owsm.vocabulary import OwsmVocabulary
from skipwise.pipeline import reference_model


def make_model(folder: Path, *, hidden_size: int, layers: int, vocabulary: int) -> int:
    """Write a random model with the reference model's tokens and as many more as are asked for; return its bytes."""
    reference = OwsmVocabulary.load(reference_model())
    more = [f"more{index}" for index in range(vocabulary - len(reference.tokens))]
    tokens = OwsmVocabulary(
        [*reference.tokens[:-3], *more, *reference.tokens[-3:]], (reference_model() / "bpe.model").read_bytes()
    )
    sizes = {
        "hidden_size": hidden_size,
        **dict.fromkeys(("encoder_layers", "decoder_layers"), layers),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), hidden_size // 64),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "cgmlp_dim"), 4 * hidden_size),
    }
    network = OwsmNetwork(OwsmArchitecture(**tokens.token_ids() | sizes))
    save_owsm(folder, network, tokens)
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def peak_bytes(source: Path, target: Path, to: Layout) -> int:
    """Convert in a process of its own and return its peak."""
    command = [sys.executable, __file__, "--convert", str(source), str(target), to]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6, help="of the encoder, and as many of the decoder")
    parser.add_argument("--vocabulary", type=int, default=50_002)
    parser.add_argument("--place", type=Path, help="folder for the temporary models")
    parser.add_argument("--convert", nargs=3, metavar=("SRC", "DST", "TO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.convert:
        source, target, to = arguments.convert
        convert_owsm(source, target, to=to)
        sys.stdout.write(
            str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        )
        return
    with tempfile.TemporaryDirectory(dir=arguments.place) as name:
        place, console = Path(name), Console(highlight=False)
        torch.manual_seed(0)
        size = make_model(
            place / "model", hidden_size=arguments.hidden_size, layers=arguments.layers, vocabulary=arguments.vocabulary
        )
        console.print(f"weights {size / 1e9:.2f} GB")
        for source, target, to in (("model", "exported", "espnet"), ("exported", "back", "transformers")):
            peak = peak_bytes(place / source, place / target, to)
            console.print(f"to {to}: peak {peak / 1e9:.2f} GB, {peak / size:.2f} times the weights")


if __name__ == "__main__":
    main()

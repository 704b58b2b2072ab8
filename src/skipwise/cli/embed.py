"""`skipwise embed`: speaker and event embeddings for gates, computed once and kept in a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skipwise.errors import SkipwiseError


def embed(
    data: Annotated[str, typer.Argument(help="Folder in Europarl-ST layout, or a .jsonl manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Manifest to write.")],
    split: Annotated[str, typer.Option("--split", help="Split of a folder; a manifest is one split.")] = "train",
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="log_mel_statistics, or xvector:MODEL of transformers.")
    ] = None,
    event: Annotated[
        str | None, typer.Option("--event", help="noise_statistics, or audio_tags:MODEL of transformers.")
    ] = None,
    num_mel_bins: Annotated[int, typer.Option("--num-mel-bins", min=1, help="Mel bins of the statistics.")] = 80,
) -> None:
    """Add the embedding of each utterance to a manifest, for gates that are trained with `speaker` or `event`."""
    from rich.console import Console
    from rich.progress import track

    from skipwise.data.layouts import read_data
    from skipwise.data.manifest import write_manifest
    from skipwise.gating.context import VectorPart
    from skipwise.models.extractors import make_extractor, with_vectors

    wanted: dict[VectorPart, str | None] = {"speaker": speaker, "event": event}
    extractors = {part: make_extractor(name, num_mel_bins=num_mel_bins) for part, name in wanted.items() if name}
    if not extractors:
        raise SkipwiseError("there is nothing to compute: name an extractor with --speaker, --event or both.")
    utterances = read_data(data, split)
    progress = track(
        with_vectors(utterances, extractors),
        total=len(utterances),
        description="Embedding",
        console=Console(stderr=True),
        transient=True,
    )
    write_manifest(output, progress)
    print(f"{len(utterances)} utterances in {output}")

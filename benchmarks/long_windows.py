"""Consecutive sentences of a corpus as windows of up to 30 s: a manifest to evaluate long inputs on.

    python benchmarks/long_windows.py runs/study test runs/windows.jsonl
    skipwise evaluate --data runs/windows.jsonl

A window takes sentences of one recording as long as they fit and no pause between them is longer than
`--longest-pause-s`. Windows shorter than `--shortest-s` are left out. Text and translation are those of its sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from skipwise.cli.main import run_script
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance, write_manifest
from skipwise.training.windows import Recording, recordings_of


def main(
    data: Annotated[str, typer.Argument(help="Corpus or manifest.")],
    split: Annotated[str, typer.Argument(help="Its split.")],
    output: Annotated[Path, typer.Argument(help="Manifest to write.")],
    longest_s: Annotated[float, typer.Option(help="A window's longest.")] = 30.0,
    shortest_s: Annotated[float, typer.Option(help="A window's shortest.")] = 20.0,
    longest_pause_s: Annotated[float, typer.Option(help="Sentences further apart do not share a window.")] = 5.0,
) -> None:
    """Write the manifest."""
    windows = [
        joined(sentences)
        for recording in recordings_of(read_data(data, split))
        for sentences in packed(recording, longest_s, longest_pause_s)
    ]
    kept = [window for window in windows if window.duration_s >= shortest_s]
    write_manifest(output, kept)
    hours = sum(window.duration_s for window in kept) / 3600
    typer.echo(f"{len(kept)} windows of {shortest_s:g} to {longest_s:g} s, {hours:.2f} h, in {output}.")


def packed(recording: Recording, longest_s: float, longest_pause_s: float) -> Iterator[list[Utterance]]:
    """Yield a recording's sentences in groups, each as long as fits."""
    group: list[Utterance] = []
    for index, sentence in enumerate(recording.utterances):
        assert sentence.end_s is not None
        fits = not group or sentence.end_s - group[0].start_s <= longest_s
        if group and (not fits or recording.pause_before_s(index) > longest_pause_s):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group


def joined(sentences: Sequence[Utterance]) -> Utterance:
    """Return consecutive sentences of one speaker as one utterance, with the translations that all of them have."""
    first, last = sentences[0], sentences[-1]
    targets = set.intersection(*(set(sentence.translations) for sentence in sentences))
    return Utterance(
        id=f"{first.id}+{len(sentences) - 1}",
        audio=first.audio,
        start_s=first.start_s,
        end_s=last.end_s,
        language=first.language,
        speaker=first.speaker,
        transcript=" ".join(sentence.reference("asr") for sentence in sentences),
        translations={
            target: " ".join(sentence.translations[target] for sentence in sentences) for target in sorted(targets)
        },
    )


if __name__ == "__main__":
    run_script(main)

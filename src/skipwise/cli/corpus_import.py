"""`skipwise corpus import`: a folder of audio and texts, as data to train and evaluate on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipwise.cli import options

if TYPE_CHECKING:
    from skipwise.data.manifest import Utterance

_LONGEST_S = 30.0
"""What a training window holds."""


def import_data(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="File or folder in a layout of docs/data.md.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for train, dev and test manifests.")],
    language: Annotated[
        list[str] | None,
        typer.Option("--language", "-l", help="Only this language, that of data which name none; may be given again."),
    ] = None,
    dev_share: Annotated[float, typer.Option("--dev-share", help="Share of the speech to choose on.")] = 0.1,
    test_share: Annotated[float, typer.Option("--test-share", help="Share of the speech to report.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Which speakers go where.")] = 1,
    skip_bad: options.SkipBad = False,
) -> None:
    """Split audio and texts into train, dev and test that share no speaker; the audio stays where it is."""
    from skipwise.data.importing import import_corpus

    bad_lines: list[str] | None = [] if skip_bad else None
    parts = import_corpus(
        source,
        out,
        languages=language,
        dev_share=dev_share,
        test_share=test_share,
        seed=seed,
        bad_lines=bad_lines,
    )
    for split, part in (("train", parts.train), ("dev", parts.dev), ("test", parts.test)):
        typer.echo(f"{split}: {_told(part)}")
    if parts.apart == "recordings":
        typer.echo("No three speakers are named, so recordings were split: the scores are of voices that were heard.")
    num_long = sum(utterance.duration_s > _LONGEST_S for utterance in parts.train)
    if num_long:
        typer.echo(
            f"{num_long} of train are longer than {_LONGEST_S:g} s and will be left out: cut them (docs/data.md)."
        )
    if bad_lines:
        typer.echo("\n".join([f"{len(bad_lines)} bad lines are left out:", *bad_lines]))
    typer.echo(f"Written to {out}. Next: skipwise train prune data.root={out}")


def _told(part: Sequence[Utterance]) -> str:
    from skipwise.data.splits import hours_of

    speakers = {utterance.speaker for utterance in part} - {None}
    languages = ", ".join(sorted({utterance.language for utterance in part}))
    of_whom = f", {len(speakers)} speaker{'' if len(speakers) == 1 else 's'}" if speakers else ""
    return f"{hours_of(part):.2f} h, {len(part)} utterances of {languages}{of_whom}"

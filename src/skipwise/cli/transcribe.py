"""`skipwise transcribe`: audio files in, text out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from skipwise.audio import AudioSource
    from skipwise.decoding.result import Transcript


def transcribe(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Audio files; - is standard input.")],
    language: Annotated[str, typer.Option("--language", "-l", help="Language of the speech: de or deu.")],
    task: Annotated[str, typer.Option("--task", "-t", help="asr writes down, st_eng translates into English.")] = "asr",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model folder or Hub name [default: the one shipped].")
    ] = None,
    gates: Annotated[
        str, typer.Option("--gates", help="auto: those beside the model; none: skip nothing; or an adapter's folder.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file, on a line of its own.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Write down, or translate, the speech in audio files of any format and length."""
    from skipwise.pipeline import Transcriber

    transcriber = Transcriber(model, gates=gates, device=device)
    transcriber.context(language, task)  # a mistake here is told once, not for each file
    num_failed = 0
    for name in files:
        try:
            transcript = transcriber.transcribe(_source(name), language=language, task=task)
        except SkipwiseError as error:
            if len(files) == 1:
                raise
            num_failed += 1
            print(f"Error: {error}", file=sys.stderr)
            continue
        print(_line(name, transcript, as_json=as_json, is_only=len(files) == 1), flush=True)
    if num_failed:
        print(f"Error: {num_failed} of {len(files)} files could not be read.", file=sys.stderr)
        raise typer.Exit(2)


def _source(name: str) -> AudioSource:
    return sys.stdin.buffer if name == "-" else name


def _line(name: str, transcript: Transcript, *, as_json: bool, is_only: bool) -> str:
    if as_json:
        return json.dumps({"file": name, **transcript.to_dict()}, ensure_ascii=False)
    return transcript.text if is_only else f"{name}: {transcript.text}"

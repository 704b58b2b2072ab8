"""`skipwise transcribe`: audio files in, text out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipwise.cli import options
from skipwise.errors import SkipwiseError

if TYPE_CHECKING:
    from skipwise.audio import AudioSource
    from skipwise.decoding.result import Transcript

_PREDICTED = "auto"


def transcribe(  # noqa: PLR0913 one argument is one option
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Audio files; - is standard input.")],
    language: Annotated[
        str, typer.Option("--language", "-l", help="Language of the speech: de or deu; auto: the model says it.")
    ] = _PREDICTED,
    task: Annotated[str, typer.Option("--task", "-t", help="asr writes down, st_eng translates into English.")] = "asr",
    model: options.Model = None,
    gates: options.Gates = "auto",
    sparsity: options.Sparsity = None,
    exact: options.Exact = False,
    scope: options.Scope = None,
    unit: options.Unit = None,
    cost_table: options.CostTable = None,
    speedup: options.Speedup = None,
    speaker: Annotated[
        Path | None, typer.Option("--speaker", help="JSON list: the speaker's embedding, for gates that use one.")
    ] = None,
    event: Annotated[
        Path | None, typer.Option("--event", help="JSON list: the embedding of the acoustic events.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file, on a line of its own.")] = False,
    timestamps: Annotated[
        bool, typer.Option("--timestamps", help="Say when each sentence begins and ends [predict_time].")
    ] = False,
    previous_text: Annotated[
        str | None, typer.Option("--previous-text", help="What was said before, in the output's language [text_prev].")
    ] = None,
    long_form: options.LongForm = "quiet",
    condition_on_previous: options.ConditionOnPrevious = False,
    method: options.Method = "attention",
    beam_size: options.BeamSize = 1,
    nbest: options.Nbest = 1,
    ctc_weight: options.CtcWeight = 0.0,
    ctc_skips_prompt: options.CtcSkipsPrompt = False,
    max_length_ratio: options.MaxLengthRatio = None,
    min_length_ratio: options.MinLengthRatio = 0.0,
    length_bonus: options.LengthBonus = 0.0,
    normalize_length: options.NormalizeLength = False,
    device: options.Device = "cpu",
    dtype: options.Dtype = "auto",
) -> None:
    """Write down, or translate, the speech in audio files of any format and length."""
    from skipwise.cli.budgets import Wish, make_transcriber
    from skipwise.decoding.options import DecodeOptions
    from skipwise.decoding.work import Request
    from skipwise.gating import Budget

    decoding = DecodeOptions(
        method=method,
        beam_size=beam_size,
        nbest=nbest,
        ctc_weight=ctc_weight,
        ctc_skips_prompt=ctc_skips_prompt,
        max_length_ratio=max_length_ratio,
        min_length_ratio=min_length_ratio,
        length_bonus=length_bonus,
        normalize_length=normalize_length,
        timestamps=timestamps,
        long_form=long_form,
        condition_on_previous=condition_on_previous,
    )
    if timestamps and nbest > 1 and not as_json:
        raise SkipwiseError("--timestamps and --nbest are shown together by --json alone. Add it, or leave one out.")
    wish = Wish(
        budget=Budget(sparsity=sparsity, exact=exact, scope=scope, unit=unit), cost_table=cost_table, speedup=speedup
    )
    transcriber = make_transcriber(model, gates, wish, device=device, dtype=dtype, options=decoding)
    given = None if language == _PREDICTED else language
    transcriber.context(given, task)  # a mistake here is told once, not for each file
    told = {"previous_text": previous_text, "speaker": _vector(speaker), "event": _vector(event)}
    num_failed = 0
    for name in files:
        try:
            transcript = next(transcriber.transcribe_many([Request(_source(name), given, task, **told)]))
        except SkipwiseError as error:
            if len(files) == 1:
                raise
            num_failed += 1
            print(f"Error: {error}", file=sys.stderr)
            continue
        print(_record(name, transcript) if as_json else _text(name, transcript, is_only=len(files) == 1), flush=True)
    if num_failed:
        print(f"Error: {num_failed} of {len(files)} files failed.", file=sys.stderr)
        raise typer.Exit(2)


def _vector(path: Path | None) -> tuple[float, ...] | None:
    """The embedding in a JSON file."""
    from skipwise.gating import as_vector

    if path is None:
        return None
    try:
        return as_vector([float(value) for value in json.loads(path.read_text(encoding="utf-8"))])
    except (OSError, ValueError, TypeError) as error:
        raise SkipwiseError(f"cannot read an embedding from {path}: {error}. It must be a JSON list of numbers.") from (
            error
        )


def _source(name: str) -> AudioSource:
    return sys.stdin.buffer if name == "-" else name


def _record(name: str, transcript: Transcript) -> str:
    return json.dumps({"file": name, **transcript.to_dict()}, ensure_ascii=False)


def _text(name: str, transcript: Transcript, *, is_only: bool) -> str:
    """The text; a line a sentence where their times are known, and the other hypotheses below each segment's best."""
    sentences = [sentence for segment in transcript.segments for sentence in segment.sentences]
    if sentences:
        text = "\n".join(f"[{_clock(s.start_s)} - {_clock(s.end_s)}] {s.text}" for s in sentences)
        return text if is_only else f"{name}:\n{text}"
    if any(segment.alternatives for segment in transcript.segments):
        lines = []
        for segment in transcript.segments:
            if len(transcript.segments) > 1:
                lines.append(f"[{_clock(segment.start_s)} - {_clock(segment.end_s)}]")
            lines += [f"{found.score:.3f}\t{found.text}" for found in (segment, *segment.alternatives)]
        text = "\n".join(lines)
        return text if is_only else f"{name}:\n{text}"
    return transcript.text if is_only else f"{name}: {transcript.text}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:d}:{minutes:02d}:{rest:05.2f}" if hours else f"{minutes:02d}:{rest:05.2f}"

"""Reader of Lhotse's cuts: JSON lines, packed or not, read without Lhotse.

Source: Lhotse, `MonoCut.to_dict`: a recording with its sources, a stretch of it, and supervisions within that.
"""

from collections.abc import Mapping
from pathlib import Path

from skipwise.data.fields import Fields, audio_file
from skipwise.data.gathering import Gathering
from skipwise.data.lines import json_object, numbered_lines
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

_CUT_TYPE = "MonoCut"
_TRANSLATED = "translated_text"
"""Custom field of supervisions: one text for each target language."""


def read_lhotse(path: Path, found: Gathering) -> None:
    """Add an utterance for each supervision of each cut to `found`, its times within the cut's.

    Read are cuts of one recording with one channel, in a file, as it is: what Lhotse would mix, pad, fetch or transform
    when it loads the audio is refused.

    Raises:
        SkipwiseError: for a bad line; names file, line and field.
    """
    for number, line in numbered_lines(path):
        with found.line(path, number):
            # a bad supervision takes its cut along
            for utterance in _utterances(Fields(json_object(line)), path.parent, found):
                found.add(utterance)


def _utterances(cut: Fields, folder: Path, found: Gathering) -> list[Utterance]:
    if cut.text("type") not in (None, _CUT_TYPE):
        raise SkipwiseError(
            f"the field 'type' must be {_CUT_TYPE}, got {cut.text('type')}. Save the audio of mixed, padded and "
            "multi-channel cuts first (CutSet.save_audios)."
        )
    start_s, duration_s = cut.seconds("start") or 0.0, cut.positive_seconds("duration")
    if start_s < 0 or duration_s is None:
        raise SkipwiseError(f"the fields 'start' and 'duration' must be seconds, got {start_s} and {duration_s}.")
    audio = _audio(cut, folder)
    supervisions = cut.inners("supervisions")
    if not supervisions:
        raise SkipwiseError("the field 'supervisions' is empty: nothing says what is said. Take the cut out.")
    return [_utterance(supervision, audio, (start_s, duration_s), found) for supervision in supervisions]


def _audio(cut: Fields, folder: Path) -> str:
    cut.needed("recording")
    recording = cut.inner("recording")
    if "transforms" in recording and recording.needed("transforms"):
        raise SkipwiseError(
            "the field 'recording.transforms' must be empty: its speed, volume or the like changes when Lhotse loads "
            "it. Save the audio first (CutSet.save_audios)."
        )
    sources = recording.inners("sources")
    if len(sources) != 1:
        raise SkipwiseError(f"the field 'recording.sources' must list one source, got {len(sources)}.")
    [source] = sources
    if source.text("type") != "file":
        raise SkipwiseError(
            f"the field {source.named('type')} must be 'file', got {source.text('type')!r}: nothing is fetched and no "
            "command is run. Save the audio first (CutSet.save_audios)."
        )
    channels = source.needed("channels") if "channels" in source else [0]
    if not isinstance(channels, list) or len(channels) != 1:
        raise SkipwiseError(
            f"the field {source.named('channels')} must list one channel, got {channels}: several would be mixed. Save "
            "each channel to a file of its own."
        )
    return audio_file(source.needed_text("source"), folder, "recording.sources[0].source")


def _utterance(supervision: Fields, audio: str, cut_s: tuple[float, float], found: Gathering) -> Utterance:
    cut_start_s, cut_duration_s = cut_s
    begin_s = supervision.seconds("start") or 0.0
    duration_s = supervision.positive_seconds("duration")
    end_s = cut_duration_s if duration_s is None else min(begin_s + duration_s, cut_duration_s)
    begin_s = max(begin_s, 0.0)  # a cut may begin or end within a supervision
    if begin_s >= end_s:
        raise SkipwiseError(
            f"the field {supervision.named('start')} must lie within the cut, 0 to {cut_duration_s} s, got {begin_s}."
        )
    transcript, translations = supervision.text("text"), _translations(supervision.inner("custom"))
    if transcript is None and not translations:
        raise SkipwiseError(f"the field {supervision.named('text')} is missing, and there is no translation.")
    return Utterance(
        id=supervision.needed_text("id"),
        audio=audio,
        start_s=round(cut_start_s + begin_s, 6),  # sums of decimals
        end_s=round(cut_start_s + end_s, 6),
        language=found.language(supervision.text("language"), supervision.named("language").strip("'")),
        speaker=supervision.label("speaker"),
        transcript=transcript,
        translations=translations,
    )


def _translations(custom: Fields) -> Mapping[str, str]:
    texts = custom.inner(_TRANSLATED)
    return {code: texts.needed_text(code) for code in texts.names}

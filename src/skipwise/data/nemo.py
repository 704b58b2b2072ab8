"""Reader of NeMo manifests: JSON lines with `audio_filepath`, and what Canary adds to name languages and tasks.

Source: NVIDIA NeMo, "Datasets" of ASR, and the model card of canary-1b.
"""

from pathlib import Path, PurePath

from skipwise.data.fields import Fields, audio_file, end_of_file_s
from skipwise.data.gathering import Gathering, stretch_id
from skipwise.data.lines import json_object, numbered_lines
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError

_TRANSLATION_TASKS = ("ast", "s2t_translation")


def read_nemo(path: Path, found: Gathering) -> None:
    """Add the utterances of a manifest (.json, .jsonl, .gz) to `found`; `text` is a translation where `target_lang`
    is not the language of the speech. An id is made of file and times.

    Raises:
        SkipwiseError: for a bad line; names file, line and field.
    """
    for number, line in numbered_lines(path):
        with found.line(path, number):
            found.merge(_utterance(Fields(json_object(line)), path.parent, found))


def _utterance(row: Fields, folder: Path, found: Gathering) -> Utterance:
    name = row.needed_text("audio_filepath")
    text = row.needed_text("text")
    field = "source_lang" if "source_lang" in row else "lang"
    language = found.language(row.text(field), field)
    target = language if "target_lang" not in row else found.language(row.text("target_lang"), "target_lang")
    if row.text("taskname") in _TRANSLATION_TASKS and target == language:
        raise SkipwiseError(
            f"the field 'target_lang' must be another language than that of the speech for the task "
            f"{row.text('taskname')!r}, got {row.text('target_lang')!r}."
        )
    audio = audio_file(name, folder, "audio_filepath")
    start_s, duration_s = row.seconds("offset") or 0.0, row.positive_seconds("duration")
    if start_s < 0:
        raise SkipwiseError(f"the field 'offset' must be 0 or more seconds, got {start_s}.")
    end_s = end_of_file_s(audio, start_s, "audio_filepath") if duration_s is None else start_s + duration_s
    stem = str(PurePath(name).with_suffix(""))
    return Utterance(
        id=stretch_id(stem, start_s, end_s) if "offset" in row else stem,
        audio=audio,
        start_s=start_s,
        end_s=end_s,
        language=language,
        speaker=row.label("speaker"),
        transcript=text if target == language else None,
        translations={} if target == language else {target: text},
    )

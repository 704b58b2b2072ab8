"""What columns of Hugging Face data sets are called, in audio folders and in parquet.

Source: the columns of google/fleurs, facebook/covost2, mozilla-foundation/common_voice and LibriSpeech on the Hub.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipwise.data.fields import Fields
from skipwise.data.gathering import Gathering
from skipwise.data.languages import to_iso639_3
from skipwise.errors import SkipwiseError

TRANSCRIPTS = ("raw_transcription", "transcription", "sentence", "transcript", "text")
"""The first that a row has; FLEURS has a raw one, with case and punctuation, as models write."""
TRANSLATION = "translation"
SPEAKERS = ("speaker_id", "speaker", "client_id")
LANGUAGES = ("language", "lang", "locale")

_CONFIG_NAME = re.compile(r"([a-z]{2})(?:-[a-z]{2})?_([a-z]{2}|419)(?:-[a-z]{2})?", re.IGNORECASE)
"""`de_de`, `es_419` (FLEURS), `de_en`, `en_zh-CN` (CoVoST 2)."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a row says of its audio; the fields of `Utterance`."""

    language: str
    speaker: str | None
    transcript: str | None
    translations: Mapping[str, str]


def said(row: Mapping[str, Any], place: Path, found: Gathering) -> Said:
    """Return language, speaker and texts of a row; empty cells are not there.

    A language that no column names is that of a folder above `place` that is called as the configurations of FLEURS
    (`de_de`) and CoVoST 2 (`de_en`) are, else the one asked for; that of `translation` is the second of such a name,
    else English.

    Raises:
        SkipwiseError: if the language is not known, or there is no text; names the column.
    """
    full = {name: value for name, value in row.items() if not (isinstance(value, str) and not value.strip())}
    fields = Fields(full)
    source, target = _config_languages(place)
    column = next((name for name in LANGUAGES if name in fields), LANGUAGES[0])
    language = found.language(fields.text(column) or source, column)
    transcript = fields.text(*TRANSCRIPTS)
    translations = _translations(fields, full, language, target)
    if transcript is None and not translations:
        known = ", ".join((*TRANSCRIPTS, TRANSLATION, f"{TRANSLATION}_<language>"))
        raise SkipwiseError(f"none of the fields {known} says anything; there are: {', '.join(full) or 'none'}.")
    return Said(language=language, speaker=fields.label(*SPEAKERS), transcript=transcript, translations=translations)


def _translations(fields: Fields, row: Mapping[str, Any], language: str, target: str | None) -> dict[str, str]:
    names = {_known(name.removeprefix(f"{TRANSLATION}_")): name for name in row if name.startswith(f"{TRANSLATION}_")}
    translations = {code: fields.needed_text(name) for code, name in names.items() if code and name in fields}
    if isinstance(row.get(TRANSLATION), Mapping):  # datasets' feature Translation: one text a language
        texts = fields.inner(TRANSLATION)
        named = {found_code: texts.needed_text(code) for code in row[TRANSLATION] if (found_code := _known(code))}
        return translations | {code: text for code, text in named.items() if code != language}
    if TRANSLATION in fields:
        into = target or "eng"
        if into == language:
            raise SkipwiseError(
                f"the field {TRANSLATION!r} does not say into which language, and {into!r} is that of the speech. Call "
                f"it {TRANSLATION}_de, or keep the data in a folder with CoVoST 2's name for the pair, such as en_de."
            )
        translations[into] = fields.needed_text(TRANSLATION)
    return translations


def _config_languages(place: Path) -> tuple[str | None, str | None]:
    for folder in place.absolute().parents:
        match = _CONFIG_NAME.fullmatch(folder.name)
        codes = [_known(code[:2]) for code in match.groups()] if match else [None]
        if codes[0] is not None:
            return codes[0], codes[1]
    return None, None


def _known(code: str) -> str | None:
    try:
        return to_iso639_3(code)
    except SkipwiseError:
        return None

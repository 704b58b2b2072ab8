"""What languages and tasks are called in figures and tables."""

from __future__ import annotations

_LANGUAGES = {"deu": "German", "eng": "English", "fra": "French", "ita": "Italian", "spa": "Spanish"}


def display_name(code: str) -> str:
    """Return the name of a language or task: its code where it has none here."""
    if code == "asr":
        return "Transcription"
    if code.startswith("st_"):
        return f"Translation\ninto {display_name(code.removeprefix('st_'))}"
    return _LANGUAGES.get(code, code)

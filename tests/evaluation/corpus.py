"""A handful of utterances with references, on disk: tones in two languages by three speakers each."""

from __future__ import annotations

from pathlib import Path

import soundfile

from skipwise.data.manifest import Utterance, write_manifest
from skipwise.gating import Scope
from tests.tiny import SENTENCES, attach_random_gates, tiny_model, tone

_SPOKEN = {"deu": SENTENCES[0:2], "fra": SENTENCES[4:6]}
_ENGLISH = SENTENCES[2:4]


def write_corpus(folder: Path, *, per_language: int = 4) -> Path:
    """Write WAV files of 1 to 2 seconds and return the path of their manifest; the last has no translation."""
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for language, spoken in _SPOKEN.items():
        for index in range(per_language):
            name = f"{language}_{index}"
            soundfile.write(folder / f"{name}.wav", tone(1.0 + 0.2 * index, seed=len(utterances)), 16_000)
            utterances.append(
                Utterance(
                    id=name,
                    audio=str(folder / f"{name}.wav"),
                    end_s=1.0 + 0.2 * index,
                    language=language,
                    speaker=f"{language}_speaker_{index % 3}",
                    transcript=spoken[index % 2],
                    translations={"eng": _ENGLISH[index % 2]} if index < per_language - 1 or language == "deu" else {},
                )
            )
    manifest = folder / "manifest.jsonl"
    write_manifest(manifest, utterances)
    return manifest


def write_gated_model(folder: Path, *, scope: Scope = "decoder") -> Path:
    """Write a tiny random model with random gates beside it, and return its folder."""
    model = tiny_model(folder)
    attach_random_gates(model.network, scope=scope).save_pretrained(folder / "gates")
    return folder

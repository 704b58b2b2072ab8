"""Put a trained gated model and a dozen held-out clips into the package's assets.

    python recipes/parliament/ship.py runs/gated/model runs/parliament
    python recipes/parliament/ship.py runs/averaged/model runs/parliament --gates runs/settled/gates

The weights are stored as fp16. The clips are evenly spread over the test split's utterances of 2.5 to 6 s, four a
language, chosen by position and never by result.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Annotated

import soundfile
import torch
import typer

from skipwise.audio import SAMPLE_RATE, load_audio
from skipwise.cli.main import run_script
from skipwise.data.layouts import read_data
from skipwise.data.manifest import Utterance, write_manifest
from skipwise.gating import GateAdapter
from skipwise.models.owsm.loading import GATES_FOLDER, load_owsm, save_owsm

ASSETS = Path(__file__).parents[2] / "src" / "skipwise" / "assets"
CLIPS_PER_LANGUAGE = 4


def ship_model(source: Path, target: Path, gates: Path) -> None:
    """Write the model at `source` as fp16 with these gates; the model card beside it is kept."""
    card = target / "README.md"
    text = card.read_text(encoding="utf-8") if card.exists() else None
    model = load_owsm(source)
    save_owsm(target, model.network, model.vocabulary, dtype=torch.float16)
    GateAdapter.from_pretrained(gates).save_pretrained(target / GATES_FOLDER)
    if text is not None:
        card.write_text(text, encoding="utf-8")


def ship_clips(corpus: Path, target: Path) -> None:
    """Write clips as 16 kHz FLAC with a manifest that holds their texts."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    clips = []
    for language in ("deu", "fra", "ita"):
        usable = [u for u in read_data(corpus, "test", languages=[language]) if 2.5 <= u.duration_s <= 6.0]
        for number in range(CLIPS_PER_LANGUAGE):
            chosen = usable[(2 * number + 1) * len(usable) // (2 * CLIPS_PER_LANGUAGE)]
            clips.append(_write_clip(chosen, target / f"{language}_{number + 1}.flac"))
    write_manifest(target / "manifest.jsonl", clips)


def _write_clip(utterance: Utterance, path: Path) -> Utterance:
    samples = load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    return dataclasses.replace(
        utterance, id=path.stem, audio=str(path), start_s=0.0, end_s=round(len(samples) / SAMPLE_RATE, 3)
    )


def main(
    model: Annotated[Path, typer.Argument(help="Trained model folder.")],
    corpus: Annotated[Path, typer.Argument(help="Parliament corpus.")],
    gates: Annotated[Path | None, typer.Option(help="Their folder, if not gates/ in that of the model.")] = None,
) -> None:
    """Put a trained gated model and a dozen held-out clips into the package's assets."""
    ship_model(model, ASSETS / "reference", gates or model / GATES_FOLDER)
    ship_clips(corpus, ASSETS / "clips")


if __name__ == "__main__":
    run_script(main)

import random
from pathlib import Path
from typing import Any

import pytest
import soundfile

from skipwise.data.manifest import Utterance, write_manifest
from skipwise.training.config import TrainConfig
from skipwise.training.windows import Recording, recordings_of
from tests.tiny import SENTENCES, tone

ARCHITECTURE = {
    "hidden_size": 32,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "cgmlp_dim": 32,
    "cgmlp_kernel_size": 7,
    "merge_kernel_size": 7,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "length_normalized_loss": True,
    "window_s": None,
    "max_window_s": 8.0,
}


TIMES = ((0.5, 2.0), (2.4, 4.0), (4.0, 6.5), (12.0, 13.0), (13.5, 15.0))
"""Five sentences; after the third there is a long pause."""


@pytest.fixture(scope="session")
def spoken(tmp_path_factory) -> Path:
    """A manifest of tones that stand for sentences: enough to train on, nothing to learn."""
    folder = tmp_path_factory.mktemp("spoken")
    german, english, french = SENTENCES[0], SENTENCES[2], SENTENCES[4]
    utterances = []
    for number in range(8):
        path = folder / f"{number}.wav"
        duration_s = 1.5 + 0.25 * number
        soundfile.write(path, tone(duration_s, seed=number), 16_000)
        utterances.append(
            Utterance(
                id=str(number),
                audio=str(path),
                start_s=0.0,
                end_s=duration_s,
                language=("deu", "fra")[number % 2],
                speaker=f"s{number % 3}",
                transcript=(german, french)[number % 2],
                translations={"eng": english},
            )
        )
    write_manifest(folder / "manifest.jsonl", utterances)
    return folder / "manifest.jsonl"


@pytest.fixture
def base_config(spoken, tmp_path):
    def make(name: str = "base", **changes) -> TrainConfig:
        sections: dict[str, Any] = {
            "output": str(tmp_path / name),
            "seed": 3,
            "data": {"root": str(spoken), "dev_root": str(spoken), "languages": ["de", "fr"]},
            "model": {"vocabulary_size": 40, "architecture": ARCHITECTURE},
            "optimisation": {
                "max_steps": 6,
                "batch_s": 8,
                "warmup_steps": 2,
                "log_steps": 1,
                "eval_steps": 3,
                "eval_utterances": 2,
                "save_steps": 3,
                "ctc_warmup_steps": 2,
            },
        }
        for key, value in changes.items():
            sections[key] = sections.get(key, {}) | value if isinstance(value, dict) else value
        if "init" in sections["model"]:
            sections["model"] = changes["model"]  # a trained base brings its architecture
        return TrainConfig(**sections)

    return make


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    folder = tmp_path_factory.mktemp("speech")
    utterances = []
    for number, language in enumerate(("deu", "fra")):
        path = folder / f"{language}.wav"
        soundfile.write(path, tone(16.0, seed=number), 16_000)
        utterances += [
            Utterance(
                id=f"{language}{index}",
                audio=str(path),
                start_s=start_s,
                end_s=end_s,
                language=language,
                transcript=f"{SENTENCES[2 * number]}",
                translations={"eng": SENTENCES[2 + index % 2]},
            )
            for index, (start_s, end_s) in enumerate(TIMES)
        ]
    random.Random(0).shuffle(utterances)
    return recordings_of(utterances)

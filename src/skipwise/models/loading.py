"""A model of any family, by its folder or its name on the Hub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from skipwise.hub import is_hub_name, local_folder
from skipwise.models.family import SpeechModel, Vocabulary
from skipwise.models.owsm.loading import CONFIG_FILE, HUB_PATTERNS, load_owsm

WHISPER = "whisper"

_WHISPER_PATTERNS = ("generation_config.json", "vocab.json", "merges.txt", "*token*.json", "normalizer.json")


def load_model(source: str | Path, *, device: torch.device | str = "cpu") -> SpeechModel[nn.Module, Vocabulary]:
    """Return the model at `source` in fp32 and eval mode: an OWSM in either layout, or a Whisper of transformers.

    Raises:
        SkipwiseError: if it is not there, damaged, or a model of another type.
    """
    place = Path(source)
    if is_hub_name(source):
        needs = f"{CONFIG_FILE}, or ESPnet's config.yaml and .pth"
        place = local_folder(source, what="model", needs=needs, patterns=(*HUB_PATTERNS, *_WHISPER_PATTERNS))
    if model_type(place) != WHISPER:
        return replace(load_owsm(place, device=device), name=str(source))
    from skipwise.models.whisper.loading import load_whisper

    return load_whisper(place, name=str(source), device=device)


def model_type(place: Path) -> str | None:
    """Return what the `config.json` of a folder calls its model; None where there is none that says so."""
    try:
        record = json.loads((place / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = record.get("model_type") if isinstance(record, dict) else None
    return found if isinstance(found, str) else None

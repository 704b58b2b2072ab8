"""ESPnet and skipwise on the same weights, in turns in one process: run by the Python of an environment with ESPnet.

    python -m skipwise.experiments.bench.espnet SETTINGS.json NOTES.part.jsonl RECORD.json

Two dense ESPnets beside our engine, dense and pruned. All decode as many tokens; where hypotheses end by themselves,
the dense ones are compared, which find the same. What is measured is noted round by round: a killed run goes on.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from skipwise.atomic import atomic_write
from skipwise.errors import SkipwiseError
from skipwise.experiments.bench.espnet_agreement import compare_tokens
from skipwise.experiments.bench.espnet_peer import Peer
from skipwise.experiments.bench.espnet_ratios import ratios_to_espnet
from skipwise.experiments.bench.espnet_works import Window, pruned_rows, works_of
from skipwise.experiments.bench.journal import Journal
from skipwise.experiments.bench.settings import BenchSettings, describe_machine
from skipwise.experiments.bench.subject import Subject
from skipwise.experiments.bench.timing import take_turns
from skipwise.models.owsm.convert import convert_owsm
from skipwise.models.owsm.loading import save_owsm


def measure_espnet(
    subject: Subject, peer: Peer, journal: Journal, on_round: Callable[[], None] | None = None
) -> Mapping[str, Any]:
    """Return the record: seconds, ratios to both ESPnets, and whether the tokens were the same."""
    settings = subject.settings
    rows = pruned_rows(subject)
    by_audio = {}
    for audio_s in settings.audio_s:
        window = Window.of(subject, peer, audio_s)
        works = works_of(window, rows)
        key = f"{audio_s} s"
        rounds = take_turns(works, rounds=settings.rounds, on_round=on_round, kept=journal.rounds(key))
        by_audio[key] = {
            **ratios_to_espnet(rounds, settings, rows),
            "same_tokens": compare_tokens(window, journal, key),
            "rounds": rounds.to_dict(),
        }
    return {"plans": {row.how: row.to_dict() for row in rows}, "by_audio": by_audio}


def run(settings: BenchSettings, notes: Path, place: Path, on_round: Callable[[], None] | None = None) -> None:
    """Measure and write the record."""
    torch.set_num_threads(settings.threads)
    machine = describe_machine()
    journal = Journal(notes, {"settings": settings.to_dict(), "machine": machine})
    subject = Subject.of(settings)
    with tempfile.TemporaryDirectory() as folder:
        save_owsm(Path(folder) / "ours", subject.network, subject.model.vocabulary)
        convert_owsm(Path(folder) / "ours", Path(folder) / "espnet", to="espnet")
        peer = Peer(Path(folder) / "espnet")
    record = measure_espnet(subject, peer, journal, on_round)
    with atomic_write(place) as file:
        json.dump({"machine": machine, **record}, file)


def _stop_with(parent: int) -> None:
    """End when the process that asked is gone: the next run would note into the same file."""
    if os.getppid() != parent:
        raise SystemExit("the run that asked for this is gone.")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    asked, noted, found = (Path(argument) for argument in sys.argv[1:])
    chosen, caller = json.loads(asked.read_text(encoding="utf-8")), os.getppid()
    try:
        run(BenchSettings.from_dict(chosen), noted, found, lambda: _stop_with(caller))
    except SkipwiseError as error:
        raise SystemExit(str(error)) from None

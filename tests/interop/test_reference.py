"""The reference model, converted to ESPnet's layout: what ESPnet and skipwise write down, and their word error rates.

Its gates are left out: ESPnet knows none. Utterances are the shipped clips and, where espeak-ng is installed, some of a
synthetic corpus; skipwise decodes them in batches, padded, and ESPnet one by one.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipwise.audio import load_audio
from skipwise.data.europarl_st import read_europarl_st
from skipwise.data.manifest import Utterance, read_manifest
from skipwise.errors import SkipwiseWarning
from skipwise.evaluation.scores import TextPair, translation_scores, word_errors
from skipwise.models.owsm.convert import EXPORTED_CONFIG, EXPORTED_WEIGHTS, convert_owsm
from skipwise.models.owsm.loading import OwsmModel, load_owsm
from skipwise.pipeline import reference_model
from tests.interop.agreement import Tally, in_our_terms
from tests.interop.conftest import ROOT, Oracle
from tests.interop.matrix import Options, Row
from tests.interop.skipwise_side import decode, decode_options, encode

CLIPS = ROOT / "src" / "skipwise" / "assets" / "clips" / "manifest.jsonl"
NUM_SPOKEN = 40
ROWS_AT_ONCE = 8
TASKS = ("asr", "st_eng")


@pytest.mark.parametrize("beam_size", [1, 5], ids=["greedy", "beam 5"])
def test_the_reference_model_writes_the_same_in_espnet(oracle: Oracle, tmp_path: Path, beam_size: int) -> None:
    oracle.require("reference")
    options = Options(beam_size=beam_size, nbest=beam_size, maxlenratio=0.4)
    utterances = [*read_manifest(CLIPS), *_spoken(tmp_path / "corpus")]
    rows = [(utterance, task) for utterance in utterances for task in TASKS]
    answer = _ask_espnet(oracle, tmp_path, rows, options)
    theirs = answer["rows"]

    model, tally, ours = load_owsm(reference_model()), Tally(), []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        ours += _decoded(
            model, rows[start : start + ROWS_AT_ONCE], options, tally, theirs[start : start + ROWS_AT_ONCE]
        )
    written = [answer["nbest"][0]["text"] for answer in theirs]
    scores = {
        f"{side}_{name}": value
        for side, texts in (("skipwise", ours), ("espnet", written))
        for name, value in _scores(rows, texts).items()
    }
    suffix = "greedy" if beam_size == 1 else f"beam{beam_size}"
    oracle.report(f"reference_{suffix}", tally, answer["versions"], utterances=len(utterances), **scores)
    tally.check()
    assert scores["skipwise_wer"] == scores["espnet_wer"] < 50  # of another speaker and noise each


def _spoken(folder: Path) -> list[Utterance]:
    """Some utterances of each language of a small corpus; none without espeak-ng."""
    if find_spec("espeakng_loader") is None:
        return []
    from skipwise.corpus import CorpusSettings, build_corpus

    settings = CorpusSettings(hours=0.001, dev_hours=0.001, test_hours=0.08, seed=2025, test_speakers=4)
    build_corpus(folder, settings)
    utterances = read_europarl_st(folder, "test")
    return utterances[:: max(1, len(utterances) // NUM_SPOKEN)][:NUM_SPOKEN]


def _samples(utterance: Utterance) -> np.ndarray:
    return load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)


def _ask_espnet(oracle: Oracle, folder: Path, rows: list[tuple[Utterance, str]], options: Options) -> dict[str, Any]:
    converted = folder / "converted"
    with pytest.warns(SkipwiseWarning, match="stay behind|attends to the padding"):
        convert_owsm(reference_model(), converted, to="espnet")
    asked = []
    for index, (utterance, task) in enumerate(rows):
        place = folder / f"{index}.npy"
        np.save(place, _samples(utterance))
        asked.append({"samples": str(place), "language": utterance.language, "task": task})
    order, answer = folder / "order.json", folder / "answer.json"
    names = {"folder": str(converted), "config": EXPORTED_CONFIG, "weights": EXPORTED_WEIGHTS}
    order.write_text(json.dumps({**names, "options": asdict(options), "rows": asked}), encoding="utf-8")
    oracle.run("tests.interop.espnet_reference", str(order), str(answer))
    return json.loads(answer.read_text(encoding="utf-8"))


def _decoded(
    model: OwsmModel, rows: list[tuple[Utterance, str]], options: Options, tally: Tally, theirs: list[dict[str, Any]]
) -> list[str]:
    """The best text of each row, after its n-best list was compared."""
    encoded = encode(model.network, [_samples(utterance) for utterance, _ in rows])
    asked = [
        Row(clip=index, language=utterance.language, task=task, previous=None, timestamps=False)
        for index, (utterance, task) in enumerate(rows)
    ]
    found, eos = decode(model, encoded, options, asked), model.network.config.eos_token_id
    for row, num_frames, ours, answer in zip(asked, encoded.num_frames.tolist(), found, theirs, strict=True):
        limit = decode_options(options).max_tokens(num_frames)
        tally.add(str(row), ours, in_our_terms(answer, max_tokens=limit, eos=eos))
    return [model.vocabulary.decode(ours[0].tokens) for ours in found]


def _scores(rows: list[tuple[Utterance, str]], texts: list[str]) -> dict[str, float]:
    pairs = {
        task: [
            TextPair(id=utterance.id, reference=utterance.reference(task), hypothesis=text)
            for (utterance, its_task), text in zip(rows, texts, strict=True)
            if its_task == task
        ]
        for task in TASKS
    }
    wer, bleu = word_errors(pairs["asr"]).wer, translation_scores(pairs["st_eng"]).bleu
    return {"wer": round(wer, 2), "bleu": round(bleu, 2)}

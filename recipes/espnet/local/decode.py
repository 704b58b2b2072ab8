"""What ESPnet's Speech2Text makes of a data folder, without gates and with them.

python local/decode.py WEIGHTS DATA FOLDER --config CONF

writes FOLDER/{dense,pruned}/text and FOLDER/result.json: WER, BLEU and seconds.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import soundfile
import torch
import yaml
from espnet2.bin.s2t_inference import Speech2Text

from skipwise import attach
from skipwise.evaluation.scores import TextPair, translation_scores, word_errors
from skipwise.models.owsm.espnet_checkpoint import read_espnet
from skipwise.models.owsm.espnet_files import EspnetFiles


def read_lines(path: Path) -> dict[str, str]:
    """Return a Kaldi table."""
    lines = (line.rstrip("\n").partition(" ") for line in path.open(encoding="utf-8"))
    return {key: value for key, _, value in lines}


def decode(s2t: Speech2Text, data: Path, folder: Path) -> dict[str, Any]:
    """Write the text of each utterance; return scores and seconds."""
    audio, references = read_lines(data / "wav.scp"), read_lines(data / "text")
    pairs: dict[str, list[TextPair]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with (folder / "text").open("w", encoding="utf-8") as file:
        for key, place in audio.items():
            prompt, _, reference = references[key].partition(" ")
            language, task = prompt.strip("<>").split("><")[:2]
            samples, _ = soundfile.read(place, dtype="float32")
            hypothesis = s2t(samples, lang_sym=f"<{language}>", task_sym=f"<{task}>")[0][3]
            pairs.setdefault(task, []).append(TextPair(id=key, reference=reference, hypothesis=hypothesis))
            file.write(f"{key} {hypothesis}\n")
    result: dict[str, Any] = {"seconds": round(time.perf_counter() - start, 2), "utterances": len(audio)}
    for task, own in pairs.items():
        result[task] = word_errors(own).wer if task == "asr" else translation_scores(own).bleu
    return result


def main(weights: Path, data: Path, folder: Path, config: Path) -> None:
    """Decode twice with the same weights."""
    gates = read_espnet(EspnetFiles.find(weights)).gates
    if gates is None:
        raise SystemExit(f"{weights} has no gates: name a checkpoint of skipwise.training.espnet.train.")
    options = yaml.safe_load(config.read_text(encoding="utf-8"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    s2t = Speech2Text(str(weights.with_name("config.yaml")), str(weights), device=device, **options)
    result = {"dense": decode(s2t, data, folder / "dense")}
    attach(s2t, gates)
    result["pruned"] = decode(s2t, data, folder / "pruned")
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", type=Path, required=True)
    main(**vars(parser.parse_args()))

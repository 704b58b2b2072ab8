"""What ESPnet says: builds checkpoints with its own classes and decodes with its `Speech2Text`, in its environment.

    .venv-espnet/bin/python -m tests.interop.espnet_side FOLDER NAME

writes the checkpoints of the matrix NAME, laid out as ESPnet packs them, below FOLDER, and what it found to
`FOLDER/NAME.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from espnet2.bin.s2t_inference import Speech2Text
from espnet2.bin.s2t_inference_language import Speech2Language
from espnet2.tasks.s2t import S2TTask
from safetensors.torch import save_file
from torch import Tensor

from tests.interop.checkpoints import LANGUAGES, PIECES, Checkpoint, espnet_config, token_list
from tests.interop.matrix import LONG_BEFORE, LONG_OPTIONS, Group, Row, clips_of, long_clip, matrix
from tests.interop.weights import Tokens, checksum, draw_state

EXP = Path("exp/s2t_train_raw_bpe")
STATS = Path("exp/s2t_stats_raw_bpe/train/feats_stats.npz")
PIECES_PLACE = Path("data/token_list/bpe/bpe.model")
WEIGHTS_FILE = "valid.total_count.ave_5best.till45epoch.pth"


def build(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Write a checkpoint into `folder`; return the shapes of its tensors and the checksum of its weights."""
    for place in (EXP, STATS.parent, PIECES_PLACE.parent):
        (folder / place).mkdir(parents=True)
    shutil.copy(PIECES, folder / PIECES_PLACE)
    num_mel_bins = checkpoint.num_mel_bins
    np.savez(folder / STATS, count=np.asarray(1), sum=np.zeros(num_mel_bins), sum_square=np.ones(num_mel_bins))
    tokens = token_list(checkpoint.num_tokens)
    config = espnet_config(checkpoint, tokens, stats_file=str(folder / STATS), bpe_file=str(folder / PIECES_PLACE))
    model = S2TTask.build_model(argparse.Namespace(**config))
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    drawn = draw_state(shapes, seed=checkpoint.seed, speech=checkpoint.speech, tokens=Tokens.of(tokens))
    model.load_state_dict(model.state_dict() | drawn)
    # what the file of statistics says is what the weights say
    mean, std = drawn["normalize.mean"].double().numpy(), drawn["normalize.std"].double().numpy()
    np.savez(folder / STATS, count=np.asarray(1), sum=mean, sum_square=std**2 + mean**2)
    torch.save(model.state_dict(), folder / EXP / WEIGHTS_FILE)
    with (folder / EXP / "config.yaml").open("w", encoding="utf-8") as file:
        yaml.safe_dump(config, file, allow_unicode=True)
    meta = {
        "espnet": version("espnet"),
        "files": {"s2t_model_file": str(EXP / WEIGHTS_FILE)},
        "python": "3",
        "torch": str(torch.__version__),
        "yaml_files": {"s2t_train_config": str(EXP / "config.yaml")},
    }
    with (folder / "meta.yaml").open("w", encoding="utf-8") as file:
        yaml.safe_dump(meta, file)
    return {"shapes": shapes, "checksum": checksum(drawn)}


class Encoders:
    """Encodes each clip once a checkpoint: the encoder's states do not depend on the options."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def remember(self, model: Any, name: str) -> None:
        """Make `model.encode` look up what it has encoded before."""
        encode: Callable[..., Any] = model.encode

        def remembered(speech: Tensor, speech_lengths: Tensor, **rest: Any) -> Any:
            key = name + hashlib.sha256(speech.numpy().tobytes()).hexdigest() + str(speech_lengths.tolist())
            if key not in self._known:
                self._known[key] = encode(speech, speech_lengths, **rest)
            return self._known[key]

        model.encode = remembered


def speech2text(folder: Path, encoders: Encoders, **options: Any) -> Speech2Text:
    """Return ESPnet's decoder of a packed checkpoint."""
    s2t = Speech2Text(str(folder / EXP / "config.yaml"), str(folder / EXP / WEIGHTS_FILE), **options)
    encoders.remember(s2t.s2t_model, str(folder))
    return s2t


def decode_group(group: Group, folder: Path, encoders: Encoders) -> dict[str, Any]:
    """Return the n-best lists of a group, and how long they took."""
    s2t, clips = speech2text(folder, encoders, **asdict(group.options)), clips_of(group.checkpoint)
    start = time.perf_counter()
    rows = [decode_row(s2t, row, clips[row.clip]) for row in group.rows]
    return {
        "checkpoint": group.checkpoint.name,
        "options": asdict(group.options),
        "num_frames": encoded(s2t, clips[0]).shape[1],
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 2),
    }


def decode_row(s2t: Speech2Text, row: Row, samples: np.ndarray) -> dict[str, Any]:
    """Return the n-best list of one call, with all that went in."""
    results = s2t(
        samples,
        text_prev=row.previous,
        lang_sym=f"<{row.language}>",
        task_sym=f"<{row.task}>",
        predict_time=row.timestamps,
    )
    nbest = [
        {"yseq": hyp.yseq.tolist(), "score": float(hyp.score), "text": text, "text_nospecial": plain}
        for text, _, _, plain, hyp in results
    ]
    return {**asdict(row), "prompt": list(s2t.beam_search.hyp_primer), "nbest": nbest}


def long_form(folder: Path, encoders: Encoders) -> dict[str, Any]:
    """Return what `decode_long` makes of a long clip, with and without the text before."""
    s2t = speech2text(folder, encoders, **asdict(LONG_OPTIONS))
    return {
        name: s2t.decode_long(
            long_clip(),
            condition_on_prev_text=condition,
            init_text=LONG_BEFORE,
            lang_sym="<fra>",
            task_sym="<asr>",
        )
        for name, condition in (("alone", False), ("conditioned", True))
    }


def heads(checkpoint: Checkpoint, folder: Path, encoders: Encoders) -> dict[str, Any]:
    """Return each clip's languages, and what the CTC head alone hears."""
    s2t, clips = speech2text(folder, encoders), clips_of(checkpoint)
    s2l = Speech2Language(
        str(folder / EXP / "config.yaml"),
        str(folder / EXP / WEIGHTS_FILE),
        nbest=len(LANGUAGES),
        first_lang_sym=f"<{LANGUAGES[0]}>",
        last_lang_sym=f"<{LANGUAGES[-1]}>",
    )
    encoders.remember(s2l.s2t_model, str(folder))
    return {"languages": [dict(s2l(samples)) for samples in clips], "ctc": [ctc_tokens(s2t, c) for c in clips]}


def encoded(s2t: Speech2Text, samples: np.ndarray) -> Tensor:
    """Return the encoder's states of a clip in its window, as `Speech2Text` computes them."""
    num_samples = int(s2t.preprocessor_conf["fs"] * s2t.preprocessor_conf["speech_length"])
    window = torch.zeros(1, num_samples)
    window[0, : len(samples)] = torch.tensor(samples[:num_samples])
    return s2t.s2t_model.encode(speech=window, speech_lengths=torch.tensor([num_samples]))[0]


def ctc_tokens(s2t: Speech2Text, samples: np.ndarray) -> list[int]:
    """Return the CTC head's best path, repeats merged and blanks dropped."""
    path = s2t.s2t_model.ctc.argmax(encoded(s2t, samples))[0].tolist()
    return [token for token, before in zip(path, [None, *path], strict=False) if token not in (before, 0)]


def hidden_states(checkpoint: Checkpoint, folder: Path, encoders: Encoders) -> dict[str, Tensor]:
    """Return encoder states, CTC and teacher-forced log-probabilities of two clips."""
    s2t, tensors = speech2text(folder, encoders), {}
    generator = torch.Generator().manual_seed(checkpoint.seed)
    for index, samples in enumerate(clips_of(checkpoint)[1:3]):
        states = encoded(s2t, samples)
        tokens = torch.randint(len(s2t.s2t_model.token_list), (1, 9), generator=generator)
        logits, _ = s2t.s2t_model.decoder(states, torch.tensor([states.shape[1]]), tokens, torch.tensor([9]))
        tensors |= {
            f"{index}.encoder": states[0],
            f"{index}.ctc": s2t.s2t_model.ctc.log_softmax(states)[0],
            f"{index}.tokens": tokens[0],
            f"{index}.decoder": logits[0].log_softmax(dim=-1),
        }
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


@torch.inference_mode()
def main(folder: Path, name: str) -> None:
    """Build, decode, and write down what came out."""
    asked, encoders = matrix(name), Encoders()
    places = {checkpoint.name: (folder / checkpoint.name).resolve() for checkpoint in asked.checkpoints}
    built = {checkpoint.name: build(checkpoint, places[checkpoint.name]) for checkpoint in asked.checkpoints}
    record = {
        "versions": {package: version(package) for package in ("espnet", "torch", "numpy", "sentencepiece")},
        "checkpoints": built,
        "groups": [decode_group(group, places[group.checkpoint.name], encoders) for group in asked.groups],
        "long_form": {c.name: long_form(places[c.name], encoders) for c in asked.long_form},
        "heads": {c.name: heads(c, places[c.name], encoders) for c in asked.heads},
    }
    for checkpoint in asked.states:
        save_file(
            hidden_states(checkpoint, places[checkpoint.name], encoders), folder / f"{checkpoint.name}.safetensors"
        )
    (folder / f"{name}.json").write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    main(arguments.folder, arguments.name)

"""What ESPnet makes of a converted model: `python -m tests.interop.espnet_reference ORDER ANSWER`, both JSON files.

The order names the model's folder and files, and for each utterance a file of samples, the language and the task. The
model takes audio as long as it is; `Speech2Text` pads to `speech_length`, so that is set to each utterance's own.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from espnet2.bin.s2t_inference import Speech2Text

RATE = 16_000
VERSIONS = ("espnet", "torch", "numpy", "sentencepiece")


@torch.inference_mode()
def main(order: Path, answer: Path) -> None:
    """Decode what is ordered."""
    asked = json.loads(order.read_text(encoding="utf-8"))
    answer = answer.resolve()
    os.chdir(asked["folder"])  # a converted model's files name each other from there
    s2t = Speech2Text(asked["config"], asked["weights"], **asked["options"])
    found = []
    for row in asked["rows"]:
        samples = np.load(row["samples"])
        s2t.preprocessor_conf["speech_length"] = (len(samples) + 0.5) / RATE
        results = s2t(samples, lang_sym=f"<{row['language']}>", task_sym=f"<{row['task']}>")
        nbest = [{"yseq": hyp.yseq.tolist(), "score": float(hyp.score), "text": plain} for *_, plain, hyp in results]
        found.append({"prompt": list(s2t.beam_search.hyp_primer), "nbest": nbest})
    versions = {package: version(package) for package in VERSIONS}
    answer.write_text(json.dumps({"versions": versions, "rows": found}), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))

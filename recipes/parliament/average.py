"""Average a model with the one that it was trained on from, weight by weight; its gates stay as they are.

    python recipes/parliament/average.py reference runs/further/model runs/averaged/model --share 0.5

What goes on from a trained model at a high rate learns new things and loses some of the old; between the two lies a
model that has most of both (Wortsman et al. 2022, WiSE-FT).
"""

import argparse
import dataclasses
from pathlib import Path

from skipwise.gating import GateAdapter
from skipwise.models.attach import describe_base
from skipwise.models.owsm.loading import GATES_FOLDER, load_owsm, save_owsm
from skipwise.pipeline import reference_model


def average(before: Path, after: Path, target: Path, *, share: float) -> None:
    """Write `share` of the weights of `after` and the rest of those of `before`, with the gates of `after`."""
    model, old = load_owsm(after), load_owsm(before).network.state_dict()
    new = model.network.state_dict()
    model.network.load_state_dict({name: old[name].lerp(weight, share) for name, weight in new.items()})
    save_owsm(target, model.network, model.vocabulary)
    adapter = GateAdapter.from_pretrained(after / GATES_FOLDER)
    adapter.base = dataclasses.replace(adapter.base, fingerprint=describe_base(model.network).fingerprint)
    adapter.save_pretrained(target / GATES_FOLDER)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="the model that training went on from; reference: the shipped one")
    parser.add_argument("after", type=Path, help="the model that came out, with gates")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--share", type=float, default=0.5, help="of the weights of AFTER")
    asked = parser.parse_args()
    began = reference_model() if asked.before == "reference" else Path(asked.before)
    average(began, asked.after, asked.target, share=asked.share)

"""Average a model with the one that it was trained on from, weight by weight; its gates stay as they are.

    python recipes/parliament/average.py reference runs/further/model runs/averaged/model --decoder-share 0.85

What goes on from a trained model at a high rate learns new things and loses some of the old; between the two lies a
model that has most of both (Wortsman et al. 2022, WiSE-FT). Where the decoder has learned something that the model
before does not know, such as to read the text before a window, half of it forgets that: hence a share of its own.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from skipwise.cli.main import run_script
from skipwise.gating import GateAdapter
from skipwise.models.attach import describe_base
from skipwise.models.owsm.loading import GATES_FOLDER, load_owsm, save_owsm
from skipwise.pipeline import reference_model


def average(before: Path, after: Path, target: Path, *, share: float, decoder_share: float | None = None) -> None:
    """Write a share of the weights of `after` and the rest of those of `before`, with the gates of `after`."""
    of_decoder = share if decoder_share is None else decoder_share
    model, old = load_owsm(after), load_owsm(before).network.state_dict()
    mixed = {
        name: old[name].lerp(weight, of_decoder if name.startswith("decoder.") else share)
        for name, weight in model.network.state_dict().items()
    }
    model.network.load_state_dict(mixed)
    save_owsm(target, model.network, model.vocabulary)
    adapter = GateAdapter.from_pretrained(after / GATES_FOLDER)
    adapter.base = dataclasses.replace(adapter.base, fingerprint=describe_base(model.network).fingerprint)
    adapter.save_pretrained(target / GATES_FOLDER)


def main(
    before: Annotated[str, typer.Argument(help="The model that training went on from; reference: the shipped one.")],
    after: Annotated[Path, typer.Argument(help="The model that came out, with gates.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    share: Annotated[float, typer.Option(help="Of the weights of AFTER.", min=0, max=1)] = 0.5,
    decoder_share: Annotated[
        float | None, typer.Option(help="Of its decoder's; as --share where none is given.", min=0, max=1)
    ] = None,
) -> None:
    """Average a model with the one that it was trained on from, weight by weight; its gates stay as they are."""
    began = reference_model() if before == "reference" else Path(before)
    average(began, after, target, share=share, decoder_share=decoder_share)


if __name__ == "__main__":
    run_script(main)

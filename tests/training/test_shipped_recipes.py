"""Recipes by name, and what they take from the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipwise.data.manifest import Utterance, write_manifest
from skipwise.errors import SkipwiseError
from skipwise.training.recipes import load_recipe


def write(folder: Path, *utterances: tuple[str, str | None, dict[str, str]]) -> Path:
    made = [
        Utterance(id=str(i), audio=f"{i}.wav", end_s=1.0, language=language, transcript=text, translations=others)
        for i, (language, text, others) in enumerate(utterances)
    ]
    write_manifest(folder / "train.jsonl", made)
    return folder


def test_languages_and_tasks_are_those_of_the_data(tmp_path: Path) -> None:
    both = write(tmp_path, ("fr", "Oui.", {"en": "Yes."}), ("de", "Ja.", {"en": "Yes.", "it": "Sì."}))
    data = load_recipe("prune", [f"data.root={both}"]).data
    assert (data.languages, data.tasks) == (("deu", "fra"), ("asr", "st_eng"))
    data = load_recipe("prune", [f"data.root={both}", "data.languages=[de]"]).data
    assert (data.languages, data.tasks) == (("de",), ("asr", "st_eng", "st_ita"))
    assert load_recipe("prune", [f"data.root={both}", "data.tasks=[asr]"]).data.tasks == ("asr",)


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text("output: out\ndata: {root: nowhere}\noptimisation: {max_steps: 1}\n")
    assert load_recipe(recipe, ["seed=4"]).seed == 4
    assert load_recipe(recipe).data.tasks == ("asr", "st_eng"), "the default, whatever the data are"


def test_overrides_change_a_shipped_recipe(tmp_path: Path) -> None:
    data = write(tmp_path, ("de", "Ja.", {}))
    config = load_recipe("prune", [f"data.root={data}", "optimisation.max_steps=7", "output=elsewhere"])
    assert (config.optimisation.max_steps, config.output) == (7, Path("elsewhere"))
    assert config.model.base == "lora" and config.gates is not None and config.gates.sparsity_range == (0.0, 0.9)


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"no such recipe: prunes. Shipped are prune; or give a YAML file"):
        load_recipe("prunes")
    with pytest.raises(SkipwiseError, match=r"prune.yaml: data.root is missing"):
        load_recipe("prune")
    with pytest.raises(SkipwiseError, match=r"an override is written key=value"):
        load_recipe("prune", ["data.root"])
    mute = write(tmp_path, ("de", None, {"en": "Yes."}))
    with pytest.raises(SkipwiseError, match=r"utterance '0' has no transcript, and training needs one of each"):
        load_recipe("prune", [f"data.root={mute}"])

"""Which data a run learns from, and on which it is evaluated."""

from dataclasses import replace

import pytest
import torch

from skipwise.data.layouts import LAYOUTS
from skipwise.data.manifest import read_manifest, write_manifest
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.gating import GatePlan
from skipwise.models.owsm.loading import load_owsm
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.trainable import trainable_family_of
from skipwise.pipeline import reference_model
from skipwise.training.config import DataSection
from skipwise.training.run import train
from skipwise.training.start import starting_point, utterances_of
from tests.data.layouts import WRITERS
from tests.tiny import tone


def _what_is_said(utterances):
    """All but ids, and files, which parquet holds inside; the order of training data is that of languages."""
    ordered = sorted(utterances, key=lambda utterance: utterance.end_s)  # each has a length of its own
    return [replace(utterance, id="", audio="") for utterance in ordered]


def test_every_layout_is_written():
    # audio with texts beside it says no language and has no splits: `skipwise corpus import` makes data of it
    assert set(WRITERS) == {layout.name for layout in LAYOUTS} - {"audio and texts"}


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_is_trained_and_evaluated_on_alike(base_config, spoken, tmp_path, name):
    utterances = read_manifest(spoken)
    WRITERS[name](tmp_path / "data" / "train", utterances[:6])
    WRITERS[name](tmp_path / "data" / "dev", utterances[6:])
    config = base_config(
        data={"root": str(tmp_path / "data"), "dev_root": None},
        optimisation={"max_steps": 1, "eval_steps": 1, "save_steps": 1},
    )
    assert _what_is_said(utterances_of(config.data, "train")) == _what_is_said(utterances[:6])
    assert _what_is_said(utterances_of(config.data, "dev")) == _what_is_said(utterances[6:])
    assert (train(config) / "model.safetensors").is_file()


def test_the_shipped_model_can_be_started_from_by_its_name(base_config):
    model, _ = starting_point(base_config(model={"init": "reference"}))
    assert isinstance(model.network, OwsmNetwork)
    shipped = load_owsm(reference_model())
    assert torch.equal(model.network.decoder.lm_head.weight, shipped.network.decoder.lm_head.weight)
    assert model.network.training


def test_data_of_one_split_are_not_trained_and_evaluated_on(base_config, spoken, monkeypatch):
    monkeypatch.setattr("skipwise.training.run.starting_point", lambda _: pytest.fail("features are computed first"))
    config = base_config(data={"dev_root": None})
    with pytest.raises(SkipwiseError, match=r"manifest\.jsonl is one split, .* Name some in data\.dev_root"):
        train(config)


def test_without_dev_utterances_none_are_needed(base_config):
    config = base_config(data={"dev_root": None}, optimisation={"max_steps": 1, "save_steps": 1, "eval_utterances": 0})
    assert (train(config) / "model.safetensors").is_file()


def test_dev_data_may_lie_elsewhere(spoken, tmp_path):
    utterances = read_manifest(spoken)
    write_manifest(tmp_path / "elsewhere.jsonl", utterances[:1])
    data = DataSection(root=spoken, dev_root=tmp_path / "elsewhere.jsonl", languages=("de", "fr"))
    assert utterances_of(data, "dev") == utterances[:1]
    assert len(utterances_of(data, "train")) == len(utterances) > 1


def test_a_root_that_is_not_there_is_told_as_such(tmp_path):
    with pytest.raises(SkipwiseError, match=r"there is no data at .*none"):
        utterances_of(DataSection(root=tmp_path / "none"), "dev")


def test_bad_lines_end_a_run_or_are_left_out_and_listed(spoken, tmp_path):
    path = tmp_path / "data.jsonl"
    write_manifest(path, read_manifest(spoken))
    path.write_text(path.read_text(encoding="utf-8") + "{}\n[]\n", encoding="utf-8")
    data = DataSection(root=path, languages=("de", "fr"))
    with pytest.raises(SkipwiseError, match=r"data\.jsonl, line 9: the field 'id' is missing"):
        utterances_of(data, "train")
    with pytest.warns(SkipwiseWarning, match=r"(?s)2 bad lines of the train data are left out:\n.*line 9.*\n.*line 10"):
        assert len(utterances_of(data.model_copy(update={"skip_bad": True}), "train")) == 8


def test_a_model_of_another_kind_is_not_trained_and_the_error_says_what_is(base_config, tmp_path):
    (tmp_path / "hubert").mkdir()
    (tmp_path / "hubert" / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(SkipwiseError, match=r"from an OWSM or a Whisper; .*hubert is a hubert. Its own library"):
        train(base_config(model={"init": str(tmp_path / "hubert")}))


def test_a_shallower_decoder_is_the_whole_one_with_the_other_layers_closed(base_config, tmp_path):
    config = base_config(model={"init": "reference", "decoder_layers": [0, 2, 5]})
    model, _ = starting_point(config)
    trainable_family_of(model.network).save(tmp_path / "shallow", model)
    shallow, whole = load_owsm(tmp_path / "shallow"), load_owsm(reference_model())
    assert shallow.network.config.decoder_layers == 3 and len(shallow.network.config.gate_sites()) == 24 + 9
    plan = GatePlan.closing(
        whole.network.config.gate_sites(),
        [site for site in whole.network.config.gate_sites() if site.stack == "decoder" and site.layer in (1, 3, 4)],
    )
    tokens = torch.tensor([[whole.network.config.bos_token_id, 40, 41, 42]])
    with torch.no_grad():
        encoded = whole.network.encode(whole.network.embed(whole.network.extract([torch.tensor(tone(1.0))])))
        torch.testing.assert_close(
            shallow.network.decode(tokens, encoded), whole.network.decode(tokens, encoded, plan), rtol=0, atol=1e-5
        )


def test_a_layer_to_keep_must_be_there(base_config):
    with pytest.raises(SkipwiseError, match=r"the decoder has the layers 0 to 5, got 6\. Name the ones to keep"):
        starting_point(base_config(model={"init": "reference", "decoder_layers": [0, 6]}))

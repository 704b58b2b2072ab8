"""Contexts with speaker and event embeddings."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GateAdapter, GateConfig, LocalPredictorConfig, MlpPredictorConfig, as_vector
from skipwise.gating.context import HIDEABLE_PARTS
from skipwise.gating.draws import RowDraws

DEU = Context(language="deu", task="asr")
SPEAKER, EVENT = (0.1, -0.4, 2.0), (1.0, 0.5)


def _adapter(base, **config) -> GateAdapter:
    torch.manual_seed(0)
    given: dict[str, Any] = {"context": (*HIDEABLE_PARTS, "speaker", "event"), "speaker_size": 3, "event_size": 2}
    given |= {"predictor": MlpPredictorConfig(open_bias=0.0, output_std=1.0)} | config
    return GateAdapter(GateConfig(**given), base).eval()


def test_the_decision_depends_on_both_embeddings_and_on_whether_they_are_known(base):
    adapter, pooled = _adapter(base), torch.randn(1, 8)
    told = replace(DEU, speaker=SPEAKER, event=EVENT)
    found = [
        adapter.logits("decoder", [context], pooled)
        for context in (told, replace(told, speaker=None), replace(told, event=None), replace(told, event=(0.5, 1.0)))
    ]
    for index, one in enumerate(found):
        assert not any(torch.allclose(one, other) for other in found[:index])


def test_an_embedding_that_is_no_part_of_the_context_does_not_matter(base):
    adapter, pooled = _adapter(base, context=HIDEABLE_PARTS, speaker_size=0, event_size=0), torch.randn(1, 8)
    told = replace(DEU, speaker=SPEAKER, event=EVENT)
    assert torch.equal(adapter.logits("decoder", [told], pooled), adapter.logits("decoder", [DEU], pooled))


def test_context_dropout_hides_embeddings_and_reaches_their_unknown_values(base):
    adapter = _adapter(base)
    told = replace(DEU, speaker=SPEAKER, event=EVENT)
    draws = RowDraws.for_all(torch.Generator(), 64)
    adapter.logits("decoder", [told] * 64, torch.randn(64, 8), dropout=0.5, draws=draws).sum().backward()
    gradients = {name: parameter.grad for name, parameter in adapter.predictors["decoder"].named_parameters()}
    for part in ("speaker", "event"):
        for name in ("unknown", "projection.weight"):
            gradient = gradients[f"{part}_embedding.{name}"]
            assert gradient is not None and gradient.abs().sum() > 0


def test_layers_that_decide_for_themselves_know_them_too(base):
    adapter = _adapter(base, predictor=LocalPredictorConfig(open_bias=0.0, output_std=1.0))
    predictor, pooled = adapter.predictors["decoder"], torch.randn(1, 8)
    found = [predictor(adapter.ids([context]), pooled, 1) for context in (DEU, replace(DEU, speaker=SPEAKER))]
    assert not torch.allclose(*found)


def test_sizes_are_saved_and_another_size_is_refused(base, tmp_path):
    _adapter(base, speaker_extractor="log_mel_statistics").save_pretrained(tmp_path / "gates")
    loaded = GateAdapter.from_pretrained(tmp_path / "gates")
    assert (loaded.config.speaker_size, loaded.config.extractor("speaker")) == (3, "log_mel_statistics")
    with pytest.raises(SkipwiseError, match=r"trained with speaker embeddings of 3 numbers, got 2. Use the extractor"):
        loaded.plan("decoder", [replace(DEU, speaker=(1.0, 2.0))], torch.randn(1, 8))


def test_a_size_goes_with_its_part_of_the_context():
    with pytest.raises(SkipwiseError, match=r"speaker_size must be the numbers of an embedding if speaker is among"):
        GateConfig(context=("task", "speaker"))
    with pytest.raises(SkipwiseError, match=r"event_size must be .* 0 if not; got 4 with context task"):
        GateConfig(context=("task",), event_size=4)


def test_a_context_with_embeddings_is_a_value():
    one, other = (Context(speaker=as_vector(torch.tensor([1.0, 2.0]))) for _ in range(2))
    assert one == other and len({one, other}) == 1 and one != Context(speaker=(1.0, 3.0))
    assert as_vector([1, 2]) == (1.0, 2.0)
    for wrong in ([], [1.0, float("nan")]):
        with pytest.raises(SkipwiseError, match=r"one or more finite numbers"):
            as_vector(wrong)


def test_the_adapter_that_is_shipped_still_loads():
    folder = Path(str(files("skipwise"))) / "assets" / "reference" / "gates"
    adapter = GateAdapter.from_pretrained(folder)
    assert adapter.config.unit == "sites" and adapter.config.speaker_size == 0 and adapter.lora is None
    plan = adapter.plan("decoder", [DEU], torch.randn(1, adapter.base.hidden_size))
    assert 0 < plan.sparsity() < 1

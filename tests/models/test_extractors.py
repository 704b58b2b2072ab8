"""Extractors by name: from features, and from tiny random models of transformers on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.features.vectors import LogMelStatistics, NoiseStatistics, VectorExtractor
from skipwise.gating import Context, GateConfig
from skipwise.gating.context import VectorPart
from skipwise.models.attach import attach
from skipwise.models.extractors import ContextExtractors, make_extractor, with_vectors
from skipwise.pipeline import Request, Transcriber
from tests.tiny import tiny_model, tone

WAVEFORM = torch.from_numpy(tone(1.0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random models under `xvector` and `audio_tags`."""
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
        Wav2Vec2ForXVector,
    )

    folder = tmp_path_factory.mktemp("extractors")
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        xvector_output_dim=12,
        tdnn_dim=(16,) * 5,
        classifier_proj_size=8,
    )
    config.num_labels = 5
    torch.manual_seed(0)
    for name, model_class in (("xvector", Wav2Vec2ForXVector), ("audio_tags", Wav2Vec2ForSequenceClassification)):
        model_class(config).save_pretrained(folder / name)
        Wav2Vec2FeatureExtractor().save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize(("kind", "size"), [("xvector", 12), ("audio_tags", 5)])
def test_a_transformers_model_embeds_what_it_hears(saved, kind, size):
    extractor = make_extractor(f"{kind}:{saved / kind}", num_mel_bins=80)
    vector, other = extractor(WAVEFORM), extractor(torch.from_numpy(tone(1.0, seed=1)))
    assert extractor.size == size and vector.shape == (size,)
    assert torch.equal(vector, extractor(WAVEFORM)) and not torch.allclose(vector, other)


def test_statistics_need_no_model():
    assert isinstance(make_extractor("log_mel_statistics", num_mel_bins=80), LogMelStatistics)
    assert isinstance(make_extractor("noise_statistics", num_mel_bins=80), NoiseStatistics)


@pytest.mark.parametrize("name", ["xvector", "log_mel_statistics:x", "ecapa:speechbrain/x", ""])
def test_an_unknown_extractor_names_the_known_ones(name):
    with pytest.raises(SkipwiseError, match=r"log_mel_statistics, noise_statistics, xvector:MODEL or audio_tags:MODEL"):
        make_extractor(name, num_mel_bins=80)


def test_without_a_network_the_error_says_how_to_bring_the_model(tmp_path):
    with pytest.raises(SkipwiseError, match=r"cannot load .*nowhere.* Without a network, bring the model's folder"):
        make_extractor(f"xvector:{tmp_path}/nowhere", num_mel_bins=80)


def test_a_context_is_completed_where_it_has_no_embedding_of_its_own():
    extractors = ContextExtractors({"speaker": LogMelStatistics(80), "event": NoiseStatistics(80)})
    own = Context(language="deu", speaker=(1.0,))
    completed = extractors.complete(own, WAVEFORM)
    assert completed.speaker == (1.0,) and completed.event is not None and len(completed.event) == 35
    assert ContextExtractors({}).complete(own, WAVEFORM) is own


def test_utterances_get_embeddings_and_keep_those_that_they_bring(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    bare = Utterance(id="a", audio=str(tmp_path / "a.wav"), language="de")
    extractors: dict[VectorPart, VectorExtractor] = {"speaker": LogMelStatistics(80)}
    [first, second] = with_vectors([bare, replace(bare, id="b", speaker_vector=(1.0, 2.0))], extractors)
    assert first.speaker_vector is not None and len(first.speaker_vector) == 160
    assert second.speaker_vector == (1.0, 2.0) and first.event_vector is None


def test_a_request_carries_its_embedding_to_the_gates_and_without_one_it_is_computed(tmp_path):
    model = tiny_model(tmp_path / "model")
    config = GateConfig(context=("task", "speaker"), speaker_size=160, speaker_extractor="log_mel_statistics")
    adapter = attach(model.network, config)
    seen: list[Context] = []
    decide = adapter.decide

    def spying(stack, contexts, *rest, **named):
        seen.extend(contexts)
        return decide(stack, contexts, *rest, **named)

    adapter.decide = spying
    transcriber = Transcriber(model)
    audio = (tone(1.0), 16_000)
    given = (0.5,) * 160
    list(transcriber.transcribe_many([Request(audio, "de", "asr", speaker=given), Request(audio, "de", "asr")]))
    speakers = {context.speaker for context in seen}
    assert given in speakers and len(speakers) == 2 and None not in speakers

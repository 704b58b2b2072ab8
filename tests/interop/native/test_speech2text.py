"""ESPnet's `Speech2Text` with gates writes what skipwise writes with the same adapter, from the same file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("espnet2", reason="needs ESPnet: `make oracle`")

from skipwise import GateAdapter, Transcriber, attach, convert_owsm, detach
from skipwise.gating import LocalPredictorConfig
from skipwise.models.attach import describe_base
from skipwise.models.owsm.loading import OwsmModel, load_owsm
from skipwise.pipeline import Request
from tests.interop.agreement import Tally, in_our_terms
from tests.interop.clips import RATE
from tests.interop.espnet_side import decode_row
from tests.interop.matrix import LONG_OPTIONS, LONG_S, Options, Row, long_clip
from tests.interop.native.models import CLIPS, CONTEXTS, attached, port_nbest, random_gates, speech2text
from tests.interop.skipwise_side import decode_options

BEAM = Options(beam_size=5, nbest=5, maxlenratio=-30.0)
OPTIONS = (replace(BEAM, beam_size=1, nbest=1), BEAM, replace(BEAM, ctc_weight=0.3))


@pytest.fixture(scope="module")
def converted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> OwsmModel:
    """The checkpoint after `skipwise convert`."""
    place = tmp_path_factory.mktemp("converted") / "model"
    convert_owsm(folder, place)
    return load_owsm(place)


@pytest.fixture(scope="module")
def gates(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter's files, written from the ESPnet side."""
    s2t, place = speech2text(folder), tmp_path_factory.mktemp("gates") / "gates"
    random_gates(s2t).save_pretrained(place)
    return place


def _rows() -> list[Row]:
    return [
        Row(clip=clip, language=str(c.language), task=str(c.task), previous=previous, timestamps=timestamps)
        for clip, c in enumerate(CONTEXTS)
        for previous, timestamps in ((None, False), ("Le budget", True))
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=["greedy", "beam 5", "beam 5 with CTC"])
def test_nbest_lists_are_those_of_the_port(folder: Path, converted: OwsmModel, gates: Path, options: Options) -> None:
    s2t = speech2text(folder, **options.__dict__)
    adapter = GateAdapter.from_pretrained(gates)
    tally, dense, config = Tally(), 0, converted.network.config
    transcriber = Transcriber(converted, gates=gates, options=decode_options(options), dtype="fp32")
    for row in _rows():
        samples = CLIPS[row.clip]
        with attached(s2t, adapter):
            answer = decode_row(s2t, row, samples)
        theirs = in_our_terms(answer, max_tokens=30, eos=config.eos_token_id)
        request = Request((samples, RATE), language=row.language, task=row.task)
        (transcript,) = transcriber.transcribe_many([request])
        (segment,) = transcript.segments
        tally.add(str(row), port_nbest(converted, segment.plan, row, options), theirs)
        if row.previous is None:
            assert transcript.text == answer["nbest"][0]["text_nospecial"].strip()
        dense += decode_row(s2t, row, samples)["nbest"] != answer["nbest"]
    assert dense > len(_rows()) // 2  # gates do something
    tally.check()


def test_long_recordings_are_those_of_the_port(folder: Path, converted: OwsmModel, gates: Path) -> None:
    if folder.name == "tiny-4x":
        pytest.skip("its random weights write symbols into their text: only the other says words alone")
    s2t = speech2text(folder, **LONG_OPTIONS.__dict__)
    with attached(s2t, gates):
        theirs = s2t.decode_long(long_clip(), lang_sym="<fra>", task_sym="<asr>")
    options = replace(decode_options(LONG_OPTIONS), timestamps=True, long_form="timestamps")
    request = Request((long_clip(), RATE), language="fra", task="asr")
    (transcript,) = Transcriber(converted, gates=gates, options=options, dtype="fp32").transcribe_many([request])
    ours = [
        (round(sentence.start_s, 2), round(sentence.end_s, 2), sentence.text)
        for segment in transcript.segments
        for sentence in segment.sentences
    ]
    assert len(ours) > 1
    # a sentence that ESPnet has ended after the recording ends with it in skipwise
    assert ours == [(min(start, LONG_S), min(end, LONG_S), text) for start, end, text in theirs]
    with_nothing_closed = s2t.decode_long(long_clip(), lang_sym="<fra>", task_sym="<asr>")
    assert [tuple(sentence) for sentence in with_nothing_closed] != ours


def test_layers_that_decide_for_themselves_decide_on_the_prompt(folder: Path, converted: OwsmModel) -> None:
    options = replace(BEAM, maxlenratio=-12.0)
    s2t = speech2text(folder, **options.__dict__)
    adapter = random_gates(s2t, predictor=LocalPredictorConfig(open_bias=0.0, output_std=1.0))
    transcriber = Transcriber(converted, gates=adapter, options=decode_options(options), dtype="fp32")
    for row in _rows()[::2]:
        (result, *_) = s2t(CLIPS[row.clip], lang_sym=f"<{row.language}>", task_sym=f"<{row.task}>")
        request = Request((CLIPS[row.clip], RATE), language=row.language, task=row.task)
        (transcript,) = transcriber.transcribe_many([request])
        assert transcript.text == result[3].strip()
    detach(s2t)


def test_an_adapter_of_the_port_serves_espnet(folder: Path, converted: OwsmModel, tmp_path: Path) -> None:
    random_gates(converted.network, seed=7).save_pretrained(tmp_path / "gates")
    detach(converted.network)
    s2t = speech2text(folder, beam_size=1, maxlenratio=-30.0)
    adapter = attach(s2t, tmp_path / "gates")
    assert adapter.base == describe_base(converted.network)
    transcriber = Transcriber(
        converted, gates=tmp_path / "gates", options=decode_options(Options(maxlenratio=-30.0)), dtype="fp32"
    )
    for context, samples in zip(CONTEXTS, CLIPS, strict=True):
        request = Request((samples, RATE), language=context.language, task=str(context.task))
        (transcript,) = transcriber.transcribe_many([request])
        for speech in (samples, samples[:, None]):  # ESPnet takes a channel axis too
            (result,) = s2t(speech, lang_sym=f"<{context.language}>", task_sym=f"<{context.task}>")
            assert result[3].strip() == transcript.text


def test_what_speech2text_was_built_with_is_the_context_if_the_call_names_none(folder: Path, gates: Path) -> None:
    s2t = speech2text(folder, beam_size=1, maxlenratio=-10.0, lang_sym="<fra>", task_sym="<st_eng>")
    with attached(s2t, gates):
        named, unnamed, other = (
            s2t(CLIPS[1], **symbols)[0][2]
            for symbols in (
                {"lang_sym": "<fra>", "task_sym": "<st_eng>"},
                {},
                {"lang_sym": "<deu>", "task_sym": "<asr>"},
            )
        )
    assert unnamed == named != other

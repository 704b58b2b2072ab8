"""Our engine says what transformers' `generate()` says: the same tokens, under the same plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import WhisperForConditionalGeneration

from skipwise.decoding import DecodeOptions, Hypothesis, predict_language, search
from skipwise.errors import SkipwiseError
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan
from skipwise.models.attach import detach, gated
from skipwise.models.precision import DTYPES, Dtype
from skipwise.models.whisper import network as stacks
from skipwise.models.whisper.engine import WhisperEngine
from tests.conformance.test_whisper import AUDIO, WhisperCase, prompts
from tests.projections import counted_projections
from tests.step_planners import HashedGates
from tests.tiny_whisper import features_of, tiny_generation_config, tiny_whisper, token

NUM_TOKENS = 24
ASKED = (("de", "transcribe"), ("fr", "translate"), ("en", "transcribe"))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _encoded(engine: WhisperEngine, plan: GatePlan | None = None) -> SpeechStates:
    features = engine.extract([torch.from_numpy(samples) for samples in AUDIO])
    return engine.encode(engine.embed(features), None if plan is None else plan.of_stack("encoder"))


def _ours(
    model: WhisperForConditionalGeneration, asked: Tensor, plan: GatePlan | None = None, **options: Any
) -> list[list[Hypothesis]]:
    engine = WhisperEngine(model)
    decoding = DecodeOptions(max_length_ratio=-NUM_TOKENS, **options)
    gates = None if plan is None else plan.of_stack("decoder")
    return search(engine, _encoded(engine, plan), asked.tolist(), options=decoding, gates=gates)


def _theirs(model: WhisperForConditionalGeneration, row: int, **kwargs: Any) -> Any:
    language, task = ASKED[row]
    features = features_of(AUDIO[row : row + 1])
    loose: Any = model
    return loose.generate(features, language=language, task=task, max_new_tokens=NUM_TOKENS, **kwargs)


def _without_times() -> WhisperForConditionalGeneration:
    """A model that says no timestamp where it was told not to, as trained ones do: generate() would go on from it."""
    model = tiny_whisper()
    times = range(token("notimestamps") + 1, model.config.vocab_size)
    model.generation_config.suppress_tokens = [*model.generation_config.suppress_tokens, *times]
    return model


def _ending(model: WhisperForConditionalGeneration, said: int) -> WhisperForConditionalGeneration:
    """The model with the end of the text in the place of a token that it says: texts end, each in its time."""
    weight = model.model.decoder.embed_tokens.weight
    weight[[said, token("endoftext")]] = weight[[token("endoftext"), said]]
    return model


@pytest.mark.parametrize("ends", [False, True], ids=["to the limit", "to the end"])
@pytest.mark.parametrize("with_plan", [False, True], ids=["dense", "pruned"])
def test_greedy_tokens_are_those_of_generate(ends: bool, with_plan: bool):
    model = _without_times()
    plan = WhisperCase().random_plan(model, seed=1) if with_plan else None
    if ends:
        model = _ending(model, _ours(model, prompts(), plan)[1][0].tokens[7])
    found = _ours(model, prompts(), plan)
    for row in range(3):
        with gated(model, GatePlan.all_open(stacks.gate_sites(model)) if plan is None else plan.row(row)):
            expected = _theirs(model, row)[0].tolist()
        text = [t for t in expected if t != token("endoftext")]
        assert list(found[row][0].tokens) == text
        assert found[row][0].finished == (len(text) < NUM_TOKENS)
    assert len({hypotheses[0].tokens for hypotheses in found}) == 3
    assert any(hypotheses[0].finished for hypotheses in found) == ends


def test_beams_are_those_of_generate_while_nothing_ends():
    """Where hypotheses end, the searches differ: ESPnet's adds up scores, transformers' divides them by the length."""
    model = _without_times()
    model.generation_config.suppress_tokens += [token("endoftext")]
    found = _ours(model, prompts(), beam_size=4)
    for row in range(3):
        assert list(found[row][0].tokens) == _theirs(model, row, num_beams=4)[0].tolist()
    greedy = _ours(model, prompts())
    assert any(found[row][0].tokens != greedy[row][0].tokens for row in range(3))


def test_timestamps_follow_the_rules_of_generate():
    model = tiny_whisper()
    found = _ours(model, prompts()[:, :3])
    for row in range(3):
        expected = _theirs(model, row, return_timestamps=True)[0].tolist()
        said = [t for t in found[row][0].tokens if t != token("endoftext")]
        shared = min(len(said), len(expected))  # generate() cuts a last sentence without an end
        assert shared > 2 and said[:shared] == expected[:shared]
        assert said[0] > token("notimestamps")


def test_what_is_never_said_is_never_said():
    model = tiny_whisper()
    first = _ours(model, prompts())[0][0].tokens
    model.generation_config.begin_suppress_tokens = [first[0]]
    model.generation_config.suppress_tokens = [first[1]]
    other = _ours(model, prompts())[0][0].tokens
    assert other[0] != first[0] and first[1] not in other
    assert list(other) == _theirs(model, 0)[0].tolist()


def test_the_language_is_the_one_that_transformers_detects():
    model = tiny_whisper()
    engine = WhisperEngine(model)
    likely = predict_language(engine, _encoded(engine))
    tokens = list(engine.config.language_token_ids.values())
    detected = [int(model.detect_language(features_of(AUDIO[row : row + 1]))) for row in range(3)]
    assert [tokens[index] for index in likely.argmax(dim=1).tolist()] == detected


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_precision_computes_the_same_model(dtype: Dtype):
    model = tiny_whisper()
    reference, engine = WhisperEngine(model), WhisperEngine(model, dtype)
    states = _encoded(engine).states.float()
    expected = _encoded(reference).states
    # fp16-packed: the encoder stays fp32; 8 bits of mantissa in bf16; int8: 3-4 % of a random network's states
    share = {"fp32": 0.0, "fp16-packed": 1e-6, "bf16": 0.05, "int8": 0.1}[dtype]
    assert float((states - expected).abs().mean()) <= share * float(expected.abs().mean())
    tokens = WhisperCase().tokens(model, range(3))
    logits = [
        one.decoder.logits(one.decoder.states(tokens[:, None], one.decoder.start(_encoded(one)))).float()
        for one in (engine, reference)
    ]
    relative = float((logits[0] - logits[1]).abs().mean()) / float(logits[1].abs().mean())
    assert relative <= {"fp32": 0.0, "fp16-packed": 2e-3, "bf16": 0.1, "int8": 0.2}[dtype]
    assert (relative > 0) == (dtype != "fp32")


def test_keys_and_values_of_the_speech_are_projected_once_and_never_without_source_attention():
    model = tiny_whisper()
    engine, sites = WhisperEngine(model), stacks.gate_sites(model)
    plan = GatePlan.closing(sites, ["decoder.1.src_attn"], 3)
    plan.gates[0, [str(site) for site in sites].index("decoder.0.src_attn")] = False
    options = DecodeOptions(max_length_ratio=-5)
    with counted_projections(engine.decoder) as counts:
        search(engine, _encoded(engine), prompts().tolist(), options=options, gates=plan.of_stack("decoder"))
    assert [counts[layer, "src_attn.key"] for layer in range(3)] == [[2 * 50], [], [3 * 50]]


@pytest.mark.parametrize("chunks", [(1,) * 13, (4, 1, 3, 5)], ids=["one by one", "in pieces"])
def test_step_plans_and_lazy_keys_are_the_whole_prefix(chunks: tuple[int, ...]):
    model = tiny_whisper()
    engine, tokens = WhisperEngine(model), WhisperCase().tokens(model, range(3))
    sites = tuple(site for site in stacks.gate_sites(model) if site.stack == "decoder")
    planner, encoded = HashedGates(sites, 32, 3), _encoded(engine)
    state = engine.decoder.start(encoded, planner)
    stepped = [engine.decoder.states(part[:, None], state)[:, 0] for part in tokens.split(list(chunks), dim=1)]
    found = engine.decoder.logits(torch.cat(stepped, dim=1))
    whole = stacks.decode(model, tokens, encoded, planner)
    torch.testing.assert_close(found, whole, rtol=0, atol=WhisperCase.tolerance)
    assert float((whole - stacks.decode(model, tokens, encoded)).abs().max()) > 0.1


def test_an_adapter_decides_the_same_in_the_engine_and_in_generate():
    model = _without_times()
    case = WhisperCase()
    case.attach_random_gates(model, seed=1)
    plan, _ = case.run_planned(model, case.rows)
    found = _ours(model, prompts(), plan)
    theirs = [_theirs(model, row)[0].tolist() for row in range(3)]
    detach(model)
    assert [list(hypotheses[0].tokens) for hypotheses in found] == theirs
    assert [_theirs(model, row)[0].tolist() for row in range(3)] != theirs


def test_gates_in_force_do_not_reach_the_engine():
    model = tiny_whisper()
    expected = _ours(model, prompts())
    with gated(model, GatePlan.closing(stacks.gate_sites(model), ["decoder.0.self_attn", "encoder.0.ffn"])):
        assert [h[0].tokens for h in _ours(model, prompts())] == [h[0].tokens for h in expected]


def test_a_text_ends_where_the_decoder_has_no_positions_left():
    model = tiny_whisper()
    engine = WhisperEngine(model)
    previous = [token("startofprev"), *range(20)]
    asked = [[*previous, *prompt] for prompt in prompts().tolist()]
    found = search(engine, _encoded(engine), asked, options=DecodeOptions(max_length_ratio=-100))
    assert [len(hypotheses[0].tokens) for hypotheses in found] == [64 - 25] * 3
    assert not found[0][0].finished


def test_prompts_hold_the_end_of_a_previous_text():
    config = WhisperEngine(tiny_whisper()).config
    assert config.prompt("deu", "st_eng", previous=list(range(100))) == [
        token("startofprev"),
        *range(69, 100),
        *[token(name) for name in ("startoftranscript", "de", "translate", "notimestamps")],
    ]
    assert len(config.prompt("nor", "asr", timestamps=True)) == 3
    with pytest.raises(SkipwiseError, match=r"does not know the language 'spa'. It knows: deu, eng, fra, nor"):
        config.prompt("spa", "asr")
    with pytest.raises(SkipwiseError, match=r"does not know the task 'st_deu'. It knows: asr, st_eng"):
        config.prompt("deu", "st_deu")


def test_a_model_of_one_language_is_told_none():
    model = tiny_whisper()
    model.generation_config = tiny_generation_config(is_multilingual=False)
    config = WhisperEngine(model).config
    assert config.prompt("eng", "asr") == [token("startoftranscript"), token("notimestamps")]


def test_a_model_without_a_ctc_head_refuses_to_listen_to_it():
    model = tiny_whisper()
    refused: tuple[dict[str, Any], ...] = ({"method": "ctc"}, {"beam_size": 2, "ctc_weight": 0.3})
    for options in refused:
        with pytest.raises(SkipwiseError, match="no CTC head"):
            _ours(model, prompts(), **options)


def test_a_model_that_does_not_name_its_tokens_cannot_be_decoded():
    model = tiny_whisper()
    model.generation_config = tiny_generation_config(lang_to_id=None)
    with pytest.raises(SkipwiseError, match=r"generation_config.json names no languages.*lang_to_id"):
        WhisperEngine(model)

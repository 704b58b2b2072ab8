"""`generate()` against skipwise's own greedy search: the same tokens, dense and gated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
)

from skipwise.decoding import DecodeOptions, search
from skipwise.errors import SkipwiseError
from skipwise.gating import Context, GatePlan
from skipwise.models.attach import gated, planner_of
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.modeling import OwsmForConditionalGeneration
from skipwise.models.owsm.network import OwsmNetwork
from skipwise.models.planned import decoder_gates
from tests.models.owsm.clips import AUDIO, both_windows, inputs_of
from tests.projections import counted_projections, executed
from tests.tiny import LANGUAGES, attach_random_gates

NUM_TOKENS = 16


def greedy_tokens(
    network: OwsmNetwork,
    contexts: Sequence[Context],
    *,
    audio: Sequence[np.ndarray] = AUDIO,
    ratio: float = -NUM_TOKENS,
) -> list[list[int]]:
    """The tokens of skipwise's own search, under the plans that the network's gates decide."""
    planner = planner_of(network)
    embedded = network.embed(network.extract([torch.tensor(samples) for samples in audio]))
    encoded = network.encode(embedded, planner.encoder(contexts, embedded.pooled()))
    prompts = [network.config.prompt(str(c.language), str(c.task)) for c in contexts]
    gates = decoder_gates(network, planner, contexts, encoded, prompts)
    found = search(OwsmEngine(network), encoded, prompts, options=DecodeOptions(max_length_ratio=ratio), gates=gates)
    return [list(hypotheses[0].tokens) for hypotheses in found]


def generated_tokens(model: OwsmForConditionalGeneration, sequences: Tensor, *, prompt: int = 4) -> list[list[int]]:
    """The tokens behind the prompt, without `<eos>` and the padding that follows it."""
    rows = [row[prompt:] for row in sequences.tolist()]
    eos = model.config.eos_token_id
    return [row[: row.index(eos)] if eos in row else row for row in rows]


def contexts(*languages: str, task: str = "asr") -> list[Context]:
    return [Context(language=language, task=task) for language in languages]


@both_windows
def test_generate_finds_what_our_greedy_search_finds(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    found = model.generate(**inputs, language="deu", task="asr", max_new_tokens=NUM_TOKENS)
    assert found[:, :4].tolist() == [model.config.prompt("deu", "asr")] * len(AUDIO)
    expected = greedy_tokens(model.model, contexts("deu", "deu", "deu"))
    assert generated_tokens(model, found) == expected
    assert len({tuple(row) for row in expected}) > 1  # it hears the difference


@both_windows
def test_generate_under_gates_finds_what_our_greedy_search_finds(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    dense = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    attach_random_gates(model.model)
    of_task = {}
    for task in ("asr", "st_eng"):
        pruned = model.generate(**inputs, language=list(LANGUAGES), task=task, max_new_tokens=NUM_TOKENS)
        of_task[task] = generated_tokens(model, pruned)
        assert of_task[task] == greedy_tokens(model.model, contexts(*LANGUAGES, task=task))
    assert of_task["asr"] != generated_tokens(model, dense)
    assert of_task["asr"] != of_task["st_eng"]


@pytest.mark.parametrize(
    "closed",
    [
        ("decoder.0.self_attn",),
        ("decoder.0.self_attn", "decoder.1.self_attn"),
        ("decoder.0.src_attn", "decoder.1.src_attn", "encoder.0.cgmlp"),
        ("encoder.0.self_attn", "encoder.0.cgmlp", "decoder.0.ffn"),
    ],
    ids="+".join,
)
def test_a_skipped_module_leaves_no_hole_in_cached_decoding(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any], closed: tuple[str, ...]
) -> None:
    dense = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
    with gated(model, GatePlan.closing(model.config.gate_sites(), closed)):
        cached = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS)
        anew = model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS, use_cache=False)
        assert generated_tokens(model, cached) == greedy_tokens(model.model, contexts("deu", "deu", "deu"))
    assert torch.equal(cached, anew)
    assert not torch.equal(cached, dense)
    assert torch.equal(model.generate(**inputs, language="deu", max_new_tokens=NUM_TOKENS), dense)


def test_generate_does_not_run_closed_modules(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    with gated(model, GatePlan.closing(model.config.gate_sites(), ["decoder.0.src_attn"])):
        outputs = model.encode(**inputs, language="deu")
        cache = model.start_cache(outputs, language="deu", task="asr")
        with counted_projections(cache.decoder) as counts:
            model.generate(
                encoder_outputs=outputs, past_key_values=cache, language="deu", max_new_tokens=5, min_new_tokens=5
            )
    assert {layer: len(executed(counts, layer, "src_attn")) for layer in (0, 1)} == {0: 0, 1: 5}


def test_without_a_limit_a_row_ends_at_one_token_a_frame(folder: Path) -> None:
    model = OwsmForConditionalGeneration.from_pretrained(folder)
    model.model.decoder.lm_head.bias[model.config.eos_token_id] = -1e4
    inputs = inputs_of(folder, *AUDIO[:2])
    found = generated_tokens(model, model.generate(**inputs, language="deu"))
    expected = greedy_tokens(model.model, contexts("deu", "deu"), audio=AUDIO[:2], ratio=0)
    assert [row[: len(ours)] for row, ours in zip(found, expected, strict=True)] == expected
    assert [len(row) for row in expected] == [32, 19]
    assert set(found[1][19:]) == {model.config.pad_token_id}


def test_two_letter_codes_are_accepted_and_unknown_words_are_named(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    by_two, by_three = (model.generate(**inputs, language=code, max_new_tokens=3) for code in ("de", "deu"))
    assert torch.equal(by_two, by_three)
    with pytest.raises(SkipwiseError, match=r"does not know the language 'spa'\. It knows: deu, eng, fra"):
        model.generate(**inputs, language="es")
    with pytest.raises(SkipwiseError, match="does not know the task 'sing'"):
        model.generate(**inputs, language="deu", task="sing")
    with pytest.raises(SkipwiseError, match=r"needs a language and a task.*Languages: deu, eng, fra"):
        model.generate(**inputs)


def test_a_prompt_with_previous_text_is_left_as_it_is(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    prompt = torch.tensor([[model.config.sop_token_id, 20, 21, *model.config.prompt("deu", "asr")]] * len(AUDIO))
    options: dict[str, Any] = {"max_new_tokens": 4, "return_dict_in_generate": True, "output_logits": True}
    found = model.generate(**inputs, decoder_input_ids=prompt, **options)
    assert torch.equal(found.sequences[:, : prompt.shape[1]], prompt)
    expected = model(**inputs, decoder_input_ids=prompt).logits[:, -1]
    # float32: cached attention adds in another order
    torch.testing.assert_close(found.logits[0], expected, rtol=1e-5, atol=1e-5)
    without = model.generate(**inputs, language="deu", **options)
    assert float((without.logits[0] - found.logits[0]).abs().max()) > 1e-2


def test_timestamps_come_only_without_notimestamps(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    first, last = model.config.first_timestamp_token_id, model.config.last_timestamp_token_id
    model.model.decoder.lm_head.bias[first : last + 1] += 50.0
    with_times = torch.tensor([model.config.prompt("deu", "asr")[:-1]] * len(AUDIO))
    found = model.generate(**inputs, decoder_input_ids=with_times, max_new_tokens=4)[:, 3:]
    assert bool(((found >= first) & (found <= last)).all())
    without = model.generate(**inputs, language="deu", max_new_tokens=4)[:, 4:]
    assert not bool(((without >= first) & (without <= last)).any())


def test_only_one_hypothesis_a_row(model: OwsmForConditionalGeneration, inputs: dict[str, Any]) -> None:
    options: list[dict[str, Any]] = [{"num_beams": 2}, {"num_return_sequences": 2, "do_sample": True}]
    for option in options:
        with pytest.raises(SkipwiseError, match="num_beams and num_return_sequences must be 1"):
            model.generate(**inputs, language="deu", **option)
    with pytest.raises(ValueError, match="langage"):
        model.generate(**inputs, language="deu", langage="deu")


def test_a_cache_counts_positions_and_cannot_be_taken_apart(
    model: OwsmForConditionalGeneration, inputs: dict[str, Any]
) -> None:
    tokens = torch.tensor([model.config.prompt("deu", "asr")] * len(AUDIO))
    with gated(model, GatePlan.closing(model.config.gate_sites(), ["decoder.0.self_attn"])):
        cache = model(**inputs, decoder_input_ids=tokens, use_cache=True).past_key_values
    assert cache.get_seq_length() == 4 and cache.get_mask_sizes(1, 0) == (5, 0) and len(cache) == 2
    for call, message in (
        (lambda: cache.reorder_cache(torch.tensor([1, 0, 2])), "cannot be reordered"),
        (lambda: cache.crop(1), "cannot be cropped"),
        (lambda: cache.batch_repeat_interleave(2), "cannot be repeated"),
        (lambda: cache.batch_select_indices(torch.tensor([0])), "cannot be selected"),
        (lambda: cache.update(tokens, tokens, 0), "only OWSM's own layers"),
        (cache.reset, "cannot be used again"),
    ):
        with pytest.raises(SkipwiseError, match=message):
            call()
    with pytest.raises(SkipwiseError, match="past_key_values must be the OwsmCache"):
        model.generate(**inputs, language="deu", past_key_values=DynamicCache())

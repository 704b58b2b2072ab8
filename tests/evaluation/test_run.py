"""An evaluation says what was decoded, and adds up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError, SkipwiseWarning
from skipwise.evaluation.compare import compare
from skipwise.evaluation.cost import count_macs
from skipwise.evaluation.rows import Row, decode_rows, has_loop, make_batches
from skipwise.evaluation.run import Evaluation, evaluate
from skipwise.evaluation.scores import translation_scores, word_errors
from skipwise.gating import GatePlan
from skipwise.pipeline import Transcriber

TASKS = ("asr", "st_eng")
Pair = tuple[Transcriber, Transcriber]


@pytest.fixture(scope="module")
def pruned(transcribers: Pair, utterances: Sequence[Utterance]) -> Evaluation:
    return evaluate(transcribers[1], utterances, TASKS, notes={"data": "tones", "split": "test"})


def test_every_utterance_and_task_with_a_reference_has_a_row(
    pruned: Evaluation, utterances: Sequence[Utterance]
) -> None:
    expected = {(u.id, "asr") for u in utterances} | {(u.id, "st_eng") for u in utterances if u.translations}
    assert len(expected) == 15
    assert {(row.id, row.task) for row in pruned.rows} == expected and len(pruned.rows) == 15
    assert all(row.reference for row in pruned.rows)


def test_rows_hold_the_text_of_a_transcription_alone(
    pruned: Evaluation, transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    for row in pruned.rows[:4]:
        utterance = next(u for u in utterances if u.id == row.id)
        alone = transcribers[1].transcribe(utterance.audio, language=row.language, task=row.task)
        assert row.hypothesis == alone.text
        assert [plan.closed() for plan in row.plans] == [segment.plan.closed() for segment in alone.segments]


def test_scores_are_those_of_the_rows_of_each_task(pruned: Evaluation) -> None:
    record = pruned.to_dict()
    asr, st = ([row.pair for row in pruned.rows if row.task == task] for task in TASKS)
    for group in (record["all"], record["per_task"]["asr"]):
        assert group["wer"] == word_errors(asr).wer > 0
        assert group["words"] == word_errors(asr).words
    for group in (record["all"], record["per_task"]["st_eng"]):
        assert group["bleu"] == translation_scores(st).bleu
        assert group["chrf"] == translation_scores(st).chrf > 0
    assert record["per_task"]["asr"]["bleu"] is record["per_task"]["st_eng"]["wer"] is None
    assert record["per_task"]["st_eng"]["words"] is record["per_task"]["asr"]["chrf_interval"] is None


def test_counts_add_up_over_languages_and_tasks(pruned: Evaluation) -> None:
    record = pruned.to_dict()
    for key in ("utterances", "tokens"):
        for groups in (record["per_language"], record["per_task"]):
            assert sum(group[key] for group in groups.values()) == record["all"][key] > 0
    cells = [cell for tasks in record["per_language_task"].values() for cell in tasks.values()]
    assert sum(cell["macs"]["total"] for cell in cells) == record["all"]["macs"]["total"]
    assert sum(cell["seconds"]["decoder"] for cell in cells) == pytest.approx(record["all"]["seconds"]["decoder"])
    errors = [sum(group[k] or 0 for group in cells) for k in ("substitutions", "deletions", "insertions")]
    assert 100 * sum(errors) / record["all"]["words"] == pytest.approx(record["all"]["wer"])


def test_the_record_is_json_with_everything_that_was_promised(pruned: Evaluation) -> None:
    record = json.loads(json.dumps(pruned.to_dict(), allow_nan=False))
    assert set(record) == {"settings", "all", "per_language", "per_task", "per_language_task"}
    assert set(record["per_language"]) == {"deu", "fra"}
    for group in (record["all"], *record["per_language"].values(), *record["per_task"].values()):
        assert {"wer", "bleu", "chrf", "sparsity", "seconds", "rtf"} <= set(group)
        assert group["rtf"] == pytest.approx(group["seconds"]["total"] / group["seconds"]["audio"])
    settings = record["settings"]
    assert settings["data"] == "tones" and settings["gates"] == "adapter" and settings["threads"] == 1
    assert settings["dtype"] == "fp32" and settings["max_length_ratio"] == -6 and settings["seed"] == 0
    assert "tok:13a" in settings["signatures"]["bleu"] and settings["versions"]["torch"]


def test_sparsity_is_the_share_of_sites_that_were_skipped(pruned: Evaluation) -> None:
    record = pruned.to_dict()["all"]
    shares = [plan.sparsity("decoder") for row in pruned.rows for plan in row.plans]
    assert record["sparsity"]["decoder"] == pytest.approx(sum(shares) / len(shares))
    assert 0 < record["sparsity"]["decoder"] < 1
    assert record["sparsity"]["encoder"] == 0
    kinds = [record["sparsity_by_kind"][f"decoder.{kind}"] for kind in ("self_attn", "src_attn", "ffn")]
    assert sum(kinds) / 3 == pytest.approx(record["sparsity"]["decoder"])
    assert record["modules"]["run"] == pytest.approx(14 - 6 * record["sparsity"]["decoder"])


def test_a_dense_run_skips_nothing_and_costs_what_dense_costs(
    transcribers: Pair, utterances: Sequence[Utterance], pruned: Evaluation
) -> None:
    dense = evaluate(transcribers[0], utterances[:3], ["asr"]).to_dict()
    assert dense["all"]["sparsity"] == {"encoder": 0, "decoder": 0} and dense["settings"]["gates"] == "none"
    macs = dense["all"]["macs"]
    assert macs["total"] == macs["dense_total"] > 0
    pruned_macs = pruned.to_dict()["all"]["macs"]
    assert pruned_macs["encoder"] == pruned_macs["dense_encoder"]
    assert pruned_macs["decoder"] < pruned_macs["dense_decoder"]


def test_macs_count_the_tokens_that_were_fed_back(transcribers: Pair, utterances: Sequence[Utterance]) -> None:
    row = evaluate(transcribers[0], utterances[:1], ["asr"]).rows[0]
    expected = count_macs(
        transcribers[0].model.network.config,
        duration_s=1.0,
        num_prompt_tokens=4,
        num_fed_tokens=row.num_tokens - row.hit_limit,
    )
    assert row.macs == row.dense_macs == {"encoder": expected.encoder, "decoder": expected.decoder}


def test_rows_come_as_they_are_decoded(transcribers: Pair, utterances: Sequence[Utterance]) -> None:
    rows = decode_rows(transcribers[0], make_batches(transcribers[0], utterances, ["asr"], batch_s=3.0, seed=0))
    some = [next(rows) for _ in range(3)]
    partial = Evaluation.of(some, transcribers[0])
    assert partial.to_dict()["all"]["utterances"] == 3


def test_batches_hold_one_task_within_their_length_and_depend_on_the_seed(
    transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    batches = make_batches(transcribers[0], utterances, TASKS, batch_s=3.5, seed=0)
    assert sum(map(len, batches)) == 15
    for batch in batches:
        assert len({item.task for item in batch}) == 1
        assert len(batch) == 1 or len(batch) * max(item.cost_s for item in batch) <= 3.5
    other = make_batches(transcribers[0], utterances, TASKS, batch_s=3.5, seed=1)
    assert [[i.pair.id for i in b] for b in batches] != [[i.pair.id for i in b] for b in other]


def test_an_utterance_without_an_end_takes_the_length_of_its_file(
    transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    whole = replace(utterances[2], end_s=None)
    [[item]] = make_batches(transcribers[0], [whole], ["asr"], batch_s=30, seed=0)
    assert item.cost_s == pytest.approx(1.4)


def test_a_loop_is_four_times_the_same_words_in_a_row() -> None:
    assert has_loop("ja ja ja ja".split()) and not has_loop("ja ja ja nein ja".split())
    assert has_loop("we thank the we thank the we thank the we thank the end".split())
    assert not has_loop("we thank the we thank the we thank the end".split())
    assert has_loop("a b c d a b c d a b c d x a b c d a b c d a b c d a b c d".split())
    assert not has_loop("a b c d e a b c d e a b c d e a b c d e".split())
    assert not has_loop([])


def test_loops_and_length_limits_are_shares_of_rows(pruned: Evaluation) -> None:
    def changed(row: Row, index: int) -> Row:
        return replace(row, hypothesis="Ja ja JA ja" if index < 3 else "gut", hit_limit=index < 6)

    rows = tuple(changed(row, index) for index, row in enumerate(pruned.rows))
    record = replace(pruned, rows=rows).to_dict()["all"]
    assert record["loops"] == 3 / 15 and record["length_limit"] == 6 / 15


def test_unknown_speakers_are_each_their_own(transcribers: Pair, utterances: Sequence[Utterance]) -> None:
    anonymous = [replace(utterance, speaker=None) for utterance in utterances[:3]]
    record = evaluate(transcribers[0], anonymous, ["asr"]).to_dict()["all"]
    assert record["speakers"] == 3 and record["wer_interval"] is not None


def test_silence_has_a_row_without_text_time_or_gates(
    transcribers: Pair, utterances: Sequence[Utterance], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16_000), 16_000)
    silent = replace(utterances[0], id="silent", audio=str(tmp_path / "silence.wav"))
    with pytest.warns(SkipwiseWarning, match="is silent"):
        compared = compare(*transcribers, [silent], ["asr"])
    [row] = compared.pruned.rows
    assert (row.hypothesis, row.plans, row.macs, row.hit_limit) == ("", (), {"encoder": 0, "decoder": 0}, False)
    record = compared.pruned.to_dict()["all"]
    assert record["wer"] == 100 and record["deletions"] == record["words"]
    assert record["sparsity"] == {"encoder": None, "decoder": None} and record["modules"]["run"] is None
    assert compared.time_ratios()["all"]["decoder"] is None


def test_a_fixed_plan_closes_what_it_says(transcribers: Pair, utterances: Sequence[Utterance]) -> None:
    model = transcribers[0].model
    plan = GatePlan.closing(model.network.config.gate_sites(), ["encoder.0.ffn1", "decoder.1.ffn"])
    fixed = Transcriber(model, gates=plan, options=transcribers[0].options)
    record = evaluate(fixed, utterances[:2], ["asr"]).to_dict()
    assert record["settings"]["gates"] == "fixed plan"
    assert record["all"]["sparsity"] == {"encoder": 1 / 8, "decoder": 1 / 6}
    assert record["all"]["sparsity_by_kind"]["encoder.ffn1"] == 0.5


def test_what_cannot_be_scored_is_said_before_anything_is_decoded(
    transcribers: Pair, utterances: Sequence[Utterance]
) -> None:
    untold = [replace(utterance, translations={}) for utterance in utterances]
    with pytest.raises(SkipwiseError, match=r"none of the 8 utterances has a reference for the task st_eng"):
        evaluate(transcribers[0], untold, TASKS)
    with pytest.raises(SkipwiseError, match=r"utterance deu_1 has no word"):
        evaluate(transcribers[0], [replace(utterances[1], transcript="?")], ["asr"])
    with pytest.raises(SkipwiseError, match=r"does not know the task 'st_xyz'.*asr, st_eng"):
        evaluate(transcribers[0], utterances, ["st_xyz"])
    with pytest.raises(SkipwiseError, match=r"does not know the language 'ita'"):
        evaluate(transcribers[0], [replace(utterances[0], language="it")], ["asr"])
    with pytest.raises(SkipwiseError, match="nothing was evaluated"):
        evaluate(transcribers[0], utterances, [])

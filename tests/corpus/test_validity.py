"""The gate that a corpus must pass before conclusions are drawn from it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from skipwise.cli.corpus import corpus_app
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.validity import check_validity, read_scores
from skipwise.corpus.writer import build_corpus
from skipwise.errors import SkipwiseError


def passed(dense: tuple[float, float], half: tuple[float, float]) -> list[bool]:
    records = [{"wer": wer, "bleu": bleu} for wer, bleu in (dense, half)]
    return [finding.passed for finding in check_validity(*records)]


@pytest.mark.parametrize(
    ("dense", "half", "expected"),
    [
        ((6.0, 60.0), (6.7, 59.5), [True, True, True]),
        ((6.0, 60.0), (6.1, 57.9), [True, True, True]),
        ((6.0, 60.0), (6.5, 58.5), [True, True, False]),
        ((0.2, 99.0), (0.4, 98.8), [False, False, True]),
        ((44.0, 48.0), (55.0, 40.0), [False, True, True]),
        ((12.0, 80.0), (13.25, 80.0), [True, True, True]),
    ],
)
def test_a_dense_model_is_good_but_not_perfect_and_half_a_decoder_is_worse(
    dense: tuple[float, float], half: tuple[float, float], expected: list[bool]
) -> None:
    assert passed(dense, half) == expected


def test_scores_are_read_from_what_evaluate_writes(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"all": {"wer": 5.0, "bleu": 50.0, "chrf": 1.0}}))
    assert read_scores([path]) == {"wer": 5.0, "bleu": 50.0}
    path.write_text(json.dumps({"all": {"wer": 5.0, "bleu": None}}))
    with pytest.raises(SkipwiseError, match="must have WER and BLEU; evaluate both tasks"):
        read_scores([path])
    path.write_text("{}")
    with pytest.raises(
        SkipwiseError, match=r"is no record of an evaluation: KeyError.*Write one with skipwise evaluate"
    ):
        read_scores([path])


def test_each_task_may_have_a_record_of_its_own(tmp_path: Path) -> None:
    asr, st = tmp_path / "asr.json", tmp_path / "st.json"
    asr.write_text(json.dumps({"all": {"wer": 5.0}}))
    st.write_text(json.dumps({"all": {"bleu": 50.0}}))
    assert read_scores([asr, st]) == {"wer": 5.0, "bleu": 50.0}
    with pytest.raises(SkipwiseError, match=r"asr.json has WER a second time\. Give one record, or one of each task"):
        read_scores([asr, st, asr])


def test_the_command_takes_the_two_records_together(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    build_corpus(corpus, CorpusSettings(hours=0.02, dev_hours=0.004, test_hours=0.004, test_unseen_hours=0.004))
    for name, wer in (("dense", 6.0), ("half", 8.0)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"all": {"wer": wer, "bleu": 50.0}}))
    both = ["--dense", str(tmp_path / "dense.json"), "--half", str(tmp_path / "half.json")]
    result = CliRunner().invoke(corpus_app, ["check", str(corpus), "--perplexity-floor", "1", *both])
    assert "passed  half a decoder is worse: WER 6.0 -> 8.0 (+33%)" in result.output, result.output
    alone = CliRunner().invoke(corpus_app, ["check", str(corpus), *both[:2]])
    assert isinstance(alone.exception, SkipwiseError)
    with pytest.raises(SkipwiseError, match="--dense and --half are compared: give both"):
        raise alone.exception

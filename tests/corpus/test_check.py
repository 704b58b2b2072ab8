import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from skipwise.cli.corpus import corpus_app
from skipwise.corpus import CorpusSettings, build_corpus
from skipwise.corpus.check import CHECKS, Corpus, check_corpus, count_splits, meanings_of
from skipwise.corpus.grammar import render
from skipwise.corpus.language_model import WordModel, words
from skipwise.data.sidecar import read_sidecar, sidecar_path, write_sidecar
from skipwise.errors import SkipwiseError

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    hours = {"dev_hours": 0.002, "test_hours": 0.02, "test_unseen_hours": 0.005}
    build_corpus(folder, CorpusSettings(hours=0.01, languages=("it",), **hours))
    return folder


@pytest.fixture(scope="module")
def corpus(folder):
    return Corpus(folder)


def test_a_corpus_keeps_what_it_promises(corpus):
    findings = check_corpus(corpus)
    assert [finding for finding in findings if not finding.passed] == []
    assert {"no meaning in two splits", "held-out voices"} <= {finding.name for finding in findings}


def test_meanings_say_what_the_lists_say(corpus):
    for split, facts in corpus.facts.items():
        for fact, utterance in zip(facts, corpus.utterances[split], strict=True):
            said = [render(meaning, "ita") for meaning in meanings_of(fact)]
            assert said == list(fact.transcripts) and " ".join(said) == utterance.transcript
            assert " ".join(fact.translations) == utterance.translations["eng"]


def test_counts_are_those_of_the_lists(corpus):
    counts = {one.split: one for one in count_splits(corpus)}
    words_of_test = sum(len(u.transcript.split()) for u in corpus.utterances["test"])
    assert counts["test"].source_words == words_of_test and counts["test"].segments == len(corpus.facts["test"])


def _findings(corpus, split, change, check):
    """What `check` finds when the facts of a split are changed."""
    changed = Corpus(corpus.folder)
    changed.facts[split] = [change(fact) for fact in changed.facts[split]]
    return [finding for finding in check_corpus(changed, checks=[check]) if not finding.passed]


def test_a_shared_meaning_is_found(corpus):
    stolen = corpus.facts["test"][0]
    same = {"meanings": stolen.meanings, "templates": stolen.templates}
    found = _findings(corpus, "train", lambda fact: replace(fact, **same), "meanings")
    assert {"no meaning in two splits", "no sentence in two splits: it"} <= {finding.name for finding in found}


@pytest.mark.parametrize(
    ("change", "name"), [({"noise": "applause"}, "held-out noises"), ({"room": "corridor"}, "held-out rooms")]
)
def test_a_leaked_noise_or_room_is_found(corpus, change, name):
    assert [finding.name for finding in _findings(corpus, "train", lambda f: replace(f, **change), "held-out")] == [
        name
    ]


def test_a_shared_voice_is_found(corpus):
    voice = corpus.facts["test"][0].voice
    assert _findings(corpus, "train", lambda fact: replace(fact, voice=voice), "voices")


def test_text_that_is_easy_to_guess_is_found(corpus):
    found = check_corpus(corpus, perplexity_floor=1e6, checks=["perplexity"])
    assert [finding.passed for finding in found] == [False, False] and "the floor is 1e+06" in found[0].detail


def test_an_unknown_check_is_refused(corpus):
    with pytest.raises(SkipwiseError, match=f"unknown check 'taste'\\. There are: {', '.join(CHECKS)}"):
        check_corpus(corpus, checks=["taste"])


def test_a_folder_without_sidecars_is_refused(tmp_path):
    with pytest.raises(SkipwiseError, match=r"has no segments\.<language>\.jsonl"):
        Corpus(tmp_path)


def test_the_command_prints_and_writes_the_page(folder):
    result = CliRunner().invoke(corpus_app, ["check", str(folder)])
    assert result.exit_code == 0, result.output
    assert "passed  no meaning in two splits" in result.output and "over languages and tasks" in result.output
    page = (folder / "samples.html").read_text(encoding="utf-8")
    assert page.count("<audio") > 20 and "RT60" in page and "held out" in page


def test_the_command_fails_where_a_check_does(folder):
    result = CliRunner().invoke(corpus_app, ["check", str(folder), "--perplexity-floor", "1000000"])
    assert result.exit_code == 1 and "FAILED  perplexity of a 5-gram: it" in result.output


def test_a_sidecar_is_read_strictly(folder, tmp_path):
    facts = read_sidecar(sidecar_path(folder, "ita"))
    write_sidecar(tmp_path / "again.jsonl", facts)
    assert read_sidecar(tmp_path / "again.jsonl") == facts
    row = json.loads((tmp_path / "again.jsonl").read_text(encoding="utf-8").splitlines()[0])
    for changed, message in (
        ({**row, "mood": "good"}, r"line 1: the field 'mood' is unknown"),
        ({key: value for key, value in row.items() if key != "noise"}, r"line 1: the field 'noise' is missing"),
    ):
        (tmp_path / "bad.jsonl").write_text(json.dumps(changed) + "\n", encoding="utf-8")
        with pytest.raises(SkipwiseError, match=message):
            read_sidecar(tmp_path / "bad.jsonl")
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(SkipwiseError, match="line 1: is not JSON"):
        read_sidecar(tmp_path / "bad.jsonl")
    with pytest.raises(SkipwiseError, match="there is no sidecar"):
        read_sidecar(tmp_path / "none.jsonl")


def test_words_are_those_that_are_said():
    assert words("Mr Weber, l'ha vista? C'est-à-dire: non.") == ["mr", "weber", "l'ha", "vista", "c'est-à-dire", "non"]


def test_the_model_of_words_is_a_distribution():
    model = WordModel([["a", "b", "a"], ["a", "c"]], order=3)
    everything = sorted(model.vocabulary)
    for context in (["<s>", "<s>"], ["a", "b"], ["x", "y"]):
        total = sum(model.probability(word, context, size=len(everything)) for word in everything)
        assert total == pytest.approx(1.0, abs=1e-12)


def test_what_was_learnt_is_less_perplexing():
    model = WordModel([["a", "b", "c"]] * 20, order=3)
    assert model.perplexity([["a", "b", "c"]]) < 1.2 < 5 < model.perplexity([["c", "x", "a"]])

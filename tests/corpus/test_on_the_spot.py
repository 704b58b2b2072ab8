import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skipwise
from skipwise.corpus.grammar import LANGUAGES, render
from skipwise.corpus.noise import HELD_OUT_KINDS
from skipwise.corpus.on_the_spot import MODEL_RATE, Synthesiser
from skipwise.corpus.script import write_script
from skipwise.corpus.settings import CorpusSettings
from skipwise.errors import SkipwiseError

pytest.importorskip("espeakng_loader")

SETTINGS = CorpusSettings(hours=0.01, dev_hours=0.002, test_hours=0.01, test_unseen_hours=0.002)


@pytest.fixture(scope="module")
def synthesiser():
    return Synthesiser(SETTINGS)


def test_a_window_depends_on_seed_and_index_only(synthesiser):
    first = synthesiser(4)
    synthesiser(7)
    again = Synthesiser(SETTINGS)(4)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert (first.sentences, first.facts) == (again.sentences, again.facts)
    assert synthesiser(1).sentences != first.sentences


def test_a_window_has_several_timed_sentences_within_thirty_seconds(synthesiser):
    windows = [synthesiser(index) for index in range(4)]
    assert [window.language for window in windows] == ["deu", "fra", "ita", "deu"]
    for window in windows:
        duration_s = len(window.samples) / MODEL_RATE
        assert window.samples.dtype == np.float32 and 5 < duration_s <= 29.1
        times = [time for sentence in window.sentences for time in (sentence.start_s, sentence.end_s)]
        assert times == sorted(times) and times[-1] < duration_s
        assert sum(len(fact.templates) for fact in window.facts) == len(window.sentences)
    assert max(len(window.sentences) for window in windows) > 2


def test_training_windows_say_nothing_that_is_held_out(synthesiser):
    held_out = {
        render(meaning, language, with_opening=False)
        for speech in write_script(SETTINGS.resolved())
        if speech.split != "train"
        for segment in speech.segments
        for meaning in segment
        for language in LANGUAGES
    }
    for index in range(40):
        speech = synthesiser.speech(index)
        said = {
            render(meaning, language, with_opening=False)
            for segment in speech.segments
            for meaning in segment
            for language in LANGUAGES
        }
        assert not said & held_out and speech.noise not in HELD_OUT_KINDS


def test_windows_outside_their_range_are_refused(synthesiser):
    with pytest.raises(SkipwiseError, match="index must be 0 or more, got -1"):
        synthesiser(-1)
    with pytest.raises(SkipwiseError, match="max_window_s must be between 5 and 30, got 40"):
        Synthesiser(SETTINGS, max_window_s=40)


def test_workers_need_no_reader_of_audio_files():
    program = (
        "import sys; from skipwise.corpus.on_the_spot import Synthesiser;"
        "from skipwise.corpus.settings import CorpusSettings; Synthesiser(CorpusSettings(hours=0.01))(0);"
        "sys.exit(bool({'av', 'soundfile', 'torch'} & set(sys.modules)))"
    )
    source = Path(skipwise.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", program], cwd=source, check=False).returncode == 0

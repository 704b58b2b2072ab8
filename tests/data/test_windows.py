import pytest

from skipwise.data.sidecar import SegmentFacts
from skipwise.data.windows import sentence_windows
from skipwise.errors import SkipwiseError


def _fact(speech, index, spans):
    names = tuple(f"{speech} {start:g}" for start, _ in spans)
    return SegmentFacts(
        speech=speech,
        index=index,
        split="train",
        start_s=spans[0][0],
        end_s=spans[-1][1],
        speaker="s",
        voice="de+m1",
        noise="white",
        snr_db=10.0,
        room="none",
        rt60_s=0.0,
        distance_m=0.0,
        held_out=(),
        sentences_s=tuple(spans),
        transcripts=names,
        translations=tuple(name.upper() for name in names),
        templates=("past",) * len(spans),
        meanings=({},) * len(spans),
    )


FACTS = [
    _fact("de.train.0", 0, [(0.5, 9.0), (9.5, 20.0)]),
    _fact("de.train.0", 1, [(20.5, 28.0)]),
    _fact("de.train.0", 2, [(29.0, 40.0)]),
    _fact("de.train.1", 0, [(0.3, 5.0)]),
]


def test_windows_hold_whole_sentences_and_what_was_said_before():
    first, second, other = sentence_windows(FACTS)
    assert (first.start_s, first.end_s, len(first.sentences)) == (0.42, 28.08, 3)
    assert (second.start_s, second.end_s) == (28.92, 40.08)
    assert [sentence.transcript for sentence in second.previous] == [
        "de.train.0 0.5",
        "de.train.0 9.5",
        "de.train.0 20.5",
    ]
    assert other.previous == () and other.sentences[0].translation == "DE.TRAIN.1 0.3"


def test_every_sentence_is_in_one_window_and_no_window_is_too_long():
    windows = sentence_windows(FACTS, max_window_s=12)
    assert [len(window.sentences) for window in windows] == [1, 1, 1, 1, 1]
    assert all(window.end_s - window.start_s <= 12 for window in windows)


def test_a_sentence_longer_than_a_window_is_one_of_its_own():
    assert [len(window.sentences) for window in sentence_windows(FACTS, max_window_s=5)] == [1, 1, 1, 1, 1]


def test_a_window_needs_a_length():
    with pytest.raises(SkipwiseError, match="max_window_s must be above 0, got 0"):
        sentence_windows(FACTS, max_window_s=0)

"""Windows of a recording, what their rows say, and the steps that they make."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from skipwise.errors import SkipwiseError
from skipwise.features import extract_features
from skipwise.models.owsm.front_end import OwsmFrontEnd
from skipwise.models.owsm.loss import IGNORED_LABEL
from skipwise.training.augment import Augment, SpecAugment, VoiceAugment
from skipwise.training.batches import StepDataset, StepPlan, TrainData, plan_steps
from skipwise.training.feature_store import FeatureStore, build_feature_store
from skipwise.training.sources import StoredWindows
from skipwise.training.targets import TargetMaker, TargetShares
from skipwise.training.windows import MARGIN_S, Recording, Window, draw_windows, previous_sentences
from tests.tiny import tiny_architecture, tiny_vocabulary
from tests.training.conftest import TIMES

FRONT_END = OwsmFrontEnd(bins=80, min_frames=8)
PLAN = StepPlan(batch_s=20.0, window_s=None, max_window_s=7.0, many_share=0.6, max_steps=40, sorted_epochs=0, seed=1)


@pytest.fixture(scope="module")
def store(recordings: list[Recording], tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return build_feature_store(recordings, tmp_path_factory.mktemp("store"), front_end=FRONT_END)


def test_sentences_are_in_order_and_a_recording_reaches_a_little_beyond(
    recordings: list[Recording],
) -> None:
    for recording in recordings:
        assert tuple((u.start_s, u.end_s) for u in recording.utterances) == TIMES
        assert (recording.start_s, recording.end_s) == (0.0, 15.0 + MARGIN_S)
    assert sorted(recording.language for recording in recordings) == ["deu", "fra"]


def test_every_sentence_stands_in_one_window_and_windows_vary(recordings: list[Recording]) -> None:
    rng = random.Random(0)
    sizes: Counter[int] = Counter()
    starts = set()
    for _ in range(50):
        windows = draw_windows(recordings, max_window_s=7.0, many_share=0.6, rng=rng)
        said = Counter((w.recording, i) for w in windows for i in range(w.first, w.last + 1))
        assert said == Counter((r, i) for r in range(2) for i in range(5))
        for window in windows:
            first, last = (recordings[window.recording].utterances[i] for i in (window.first, window.last))
            assert window.duration_s <= 7.0 + 1e-9
            assert max(0.0, first.start_s - MARGIN_S) <= window.start_s <= first.start_s
            assert last.start_s + last.duration_s <= window.end_s <= last.start_s + last.duration_s + MARGIN_S
            assert not window.first <= 2 < window.last, "a long pause is never within a window"
            sizes[window.last - window.first + 1] += 1
            starts.add(round(first.start_s - window.start_s, 2))
    assert set(sizes) == {1, 2, 3} and len(starts) > 20
    alone = draw_windows(recordings, max_window_s=7.0, many_share=0.0, rng=rng)
    assert {window.last - window.first for window in alone} == {0}


def test_a_sentence_that_is_too_long_is_left_out(recordings: list[Recording]) -> None:
    windows = draw_windows(recordings, max_window_s=2.0, many_share=0.5, rng=random.Random(0))
    assert sorted((w.first, w.last) for w in windows) == sorted([(0, 0), (1, 1), (3, 3), (4, 4)] * 2)


def test_previous_sentences_end_at_a_long_pause(recordings: list[Recording]) -> None:
    def indices(first: int, most: int) -> list[int]:
        found = previous_sentences(recordings[0], first, most)
        return [recordings[0].utterances.index(utterance) for utterance in found]

    assert indices(2, 4) == [0, 1] and indices(2, 1) == [1] and indices(0, 4) == []
    assert indices(3, 4) == [] and indices(4, 4) == [3]


def maker(timestamps: float, previous_text: float) -> TargetMaker:
    shares = TargetShares(timestamps=timestamps, previous_text=previous_text)
    return TargetMaker(tiny_architecture(), tiny_vocabulary(), shares)


def test_a_row_says_language_task_and_text_and_is_scored_from_there(recordings: list[Recording]) -> None:
    config, vocabulary = tiny_architecture(), tiny_vocabulary()
    recording, window = recordings[0], Window(0, 1, 2, 2.2, 6.7)
    target = maker(0.0, 0.0).target(recording, window, "st_eng", random.Random(0))
    prompt = config.prompt(recording.language, "st_eng")
    text = vocabulary.encode(" ".join(u.translations["eng"] for u in recording.utterances[1:3]))
    assert target.tokens == (*prompt, *text)
    assert target.labels == (*prompt[1:], *text, config.eos_token_id)
    assert target.num_scored == len(target.labels)


def test_timestamps_lie_around_each_sentence_in_the_windows_time(recordings: list[Recording]) -> None:
    config, vocabulary = tiny_architecture(), tiny_vocabulary()
    recording, window = recordings[0], Window(0, 1, 2, 2.2, 6.7)
    target = maker(1.0, 0.0).target(recording, window, "asr", random.Random(0))

    def time(second: float) -> int:
        return config.first_timestamp_token_id + round(second / 0.02)

    text = vocabulary.encode(recording.utterances[1].reference("asr"))
    assert config.no_timestamps_token_id not in target.tokens
    assert target.tokens[3:] == (time(0.2), *text, time(1.8), time(1.8), *text, time(4.3))


def test_previous_text_goes_before_and_is_not_scored(recordings: list[Recording]) -> None:
    config, vocabulary = tiny_architecture(), tiny_vocabulary()
    recording, window = recordings[0], Window(0, 1, 1, 2.2, 4.0)
    target = maker(0.0, 1.0).target(recording, window, "asr", random.Random(0))
    before = vocabulary.encode(recording.utterances[0].reference("asr"))
    assert target.tokens[: len(before) + 2] == (config.sop_token_id, *before, config.bos_token_id)
    assert set(target.labels[: len(before) + 1]) == {IGNORED_LABEL}
    assert target.labels[len(before) + 1] == config.language_token_ids[recording.language]
    assert len(target.labels) == len(target.tokens)
    first = maker(0.0, 1.0).target(recording, Window(0, 0, 0, 0.0, 2.0), "asr", random.Random(0))
    assert first.tokens[0] == config.bos_token_id, "nothing is known of what was before"


def test_a_window_of_the_store_is_the_windows_own_features_but_for_its_edges(
    recordings: list[Recording], store: FeatureStore
) -> None:
    window = Window(0, 1, 2, 2.2, 6.7)
    samples, _ = soundfile.read(recordings[0].audio, dtype="float32")
    own = extract_features(
        [torch.from_numpy(samples[round(2.2 * 16_000) : round(6.7 * 16_000)])],
        num_mel_bins=80,
        window_s=None,
        min_frames=8,
    ).states[0]
    found = store.window(window)
    assert found.shape == own.shape
    torch.testing.assert_close(found[2:-2], own[2:-2], rtol=0, atol=2e-2)  # fp16 of numbers up to 23


def test_a_damaged_store_says_what_to_remove(recordings: list[Recording], tmp_path: Path) -> None:
    build_feature_store(recordings, tmp_path, front_end=FRONT_END)
    (shard,) = tmp_path.rglob("*.npy")
    whole = shard.read_bytes()
    for broken in (b"", whole[:50], whole[: len(whole) // 2]):
        shard.write_bytes(broken)
        with pytest.raises(SkipwiseError, match=r"00000.npy is damaged: .* Remove .*; the features are computed again"):
            build_feature_store(recordings, tmp_path, front_end=FRONT_END)
    shard.write_bytes(whole)
    shard.with_suffix(".json").write_text("[1")
    with pytest.raises(SkipwiseError, match=r"00000.json is damaged"):
        build_feature_store(recordings, tmp_path, front_end=FRONT_END)


def dataset(recordings: list[Recording], store: FeatureStore, **changes: Any) -> StepDataset:
    settings: dict[str, Any] = {
        "window_s": None,
        "augment": None,
        "process": 0,
        "num_processes": 1,
        "one_task": False,
    } | changes
    data = TrainData(
        source=StoredWindows(recordings, store, plan_steps(recordings, PLAN)),
        targets=maker(0.5, 0.5),
        tasks=("asr", "st_eng"),
        one_task=settings["one_task"],
        augment=settings["augment"],
        fill=torch.full((80,), -7.0),
        front_end=replace(FRONT_END, window_s=settings["window_s"]),
        seed=1,
    )
    return StepDataset(data, process=settings["process"], num_processes=settings["num_processes"])


def test_steps_are_the_same_for_a_seed_and_hold_every_sentence_once_an_epoch(recordings: list[Recording]) -> None:
    steps = plan_steps(recordings, PLAN)
    assert len(steps) == 40 and steps == plan_steps(recordings, PLAN)
    assert steps != plan_steps(recordings, replace(PLAN, seed=2))
    said: list[tuple[int, int]] = []
    for step in steps:
        assert max(window.duration_s for window in step) * len(step) <= 20.0
        said += [(window.recording, i) for window in step for i in range(window.first, window.last + 1)]
    assert sorted(said[:10]) == sorted(said[10:20]) and said[:10] != said[10:20]
    padded = plan_steps(recordings, replace(PLAN, window_s=10.0))
    assert {len(step) for step in padded} <= {1, 2}, "two windows of 10 s fill 20 s"


@pytest.mark.parametrize("one_task", [False, True])
def test_the_processes_of_a_step_share_its_windows_and_count_it_whole(
    recordings: list[Recording], store: FeatureStore, one_task: bool
) -> None:
    whole = dataset(recordings, store, one_task=one_task)
    halves = [dataset(recordings, store, process=i, num_processes=2, one_task=one_task) for i in (0, 1)]
    for step in range(6):
        batch, parts = whole[step], [half[step] for half in halves if half.places(step)]
        assert sorted(row for part in parts for row in part["step_rows"]) == sorted(batch["step_rows"])
        assert sum(int(part["num_ctc_targets"].sum()) for part in parts) == batch["num_step_ctc_targets"]
        scored = sum(int((part["labels"] != IGNORED_LABEL).sum()) for part in parts)
        assert scored == batch["num_step_labels"] == int((batch["labels"] != IGNORED_LABEL).sum())
        for part in parts:
            assert part["num_step_rows"] == batch["num_step_rows"]
            for row, place in enumerate(part["step_rows"]):
                length = len(part["tokens"][row])
                assert part["contexts"][row] == batch["contexts"][batch["step_rows"].index(place)]
                other = batch["tokens"][batch["step_rows"].index(place)]
                assert part["tokens"][row].tolist() == other[:length].tolist()


def test_a_window_can_serve_one_task_a_step_and_tasks_take_equal_shares(
    recordings: list[Recording], store: FeatureStore
) -> None:
    one, every = dataset(recordings, store, one_task=True), dataset(recordings, store)
    first: set[str | None] = set()
    for step in range(40):
        batch, full = one[step], every[step]
        windows = batch["num_step_windows"]
        assert batch["row_window"].tolist() == list(range(windows)) and batch["num_step_rows"] == windows
        assert full["num_step_rows"] == 2 * windows and torch.equal(batch["features"], full["features"])
        tasks = [context.task for context in batch["contexts"]]
        assert abs(tasks.count("asr") - tasks.count("st_eng")) <= 1
        for row, task in enumerate(tasks):
            told = full["row_window"].tolist().index(row) + (windows if task == "st_eng" else 0)
            assert full["contexts"][told].task == task
            length = min(batch["tokens"].shape[1], full["tokens"].shape[1])
            assert torch.equal(batch["tokens"][row, :length], full["tokens"][told, :length])
        first.add(tasks[0])
        assert batch["tokens"].tolist() == one[step]["tokens"].tolist(), "a resumed run goes on alike"
    assert first == {"asr", "st_eng"}, "no place has one task for ever"


def test_a_padded_window_is_zeros_behind_its_real_frames(recordings: list[Recording], store: FeatureStore) -> None:
    batch = dataset(recordings, store, window_s=8.0)[0]
    assert batch["num_frames"].tolist() == [801] * len(batch["num_frames"])
    for row, real in enumerate(batch["num_real_frames"].tolist()):
        assert real < 801
        assert float(batch["features"][row, real:].max()) == pytest.approx(np.log(1e-10))
        assert float(batch["features"][row, :real].max()) > -20


def test_augmentation_hides_bands_and_stretches_by_the_mean_and_repeats_with_the_step(
    recordings: list[Recording], store: FeatureStore
) -> None:
    plain = dataset(recordings, store)
    hidden = dataset(
        recordings,
        store,
        augment=Augment(voice=VoiceAugment(), hide=SpecAugment(num_bands=1, num_stretches=2, longest_stretch=0.2)),
    )
    changed = [hidden[step]["features"] != plain[step]["features"] for step in range(8)]
    assert any(bool(mask.any()) for mask in changed)
    for step, mask in enumerate(changed):
        assert torch.equal(hidden[step]["features"], hidden[step]["features"])
        assert set(hidden[step]["features"][mask].unique().tolist()) <= {-7.0}


def test_another_voice_is_heard_where_something_is_said_and_silence_stays(
    recordings: list[Recording], store: FeatureStore
) -> None:
    augment = Augment(voice=VoiceAugment(vocal_tract=0.1), hide=SpecAugment(num_bands=0, num_stretches=0))
    plain, other = dataset(recordings, store, window_s=8.0), dataset(recordings, store, window_s=8.0, augment=augment)
    ours, theirs = other[0], plain[0]
    assert torch.equal(ours["features"], other[0]["features"])
    for row, real in enumerate(theirs["num_real_frames"].tolist()):
        assert not torch.equal(ours["features"][row, :real], theirs["features"][row, :real])
        assert torch.equal(ours["features"][row, real:], theirs["features"][row, real:])


def test_babble_is_of_the_step_whichever_process_a_window_falls_to(
    recordings: list[Recording], store: FeatureStore
) -> None:
    """A step of one window has nobody else in it, and stays as it is."""
    hide = SpecAugment(num_bands=0, num_stretches=0)
    babble = Augment(voice=VoiceAugment(babble_share=1.0), hide=hide)
    plain, whole = dataset(recordings, store), dataset(recordings, store, augment=babble)
    halves = [dataset(recordings, store, augment=babble, process=i, num_processes=2) for i in (0, 1)]
    steps = range(12)
    sizes = {plain[step]["num_step_windows"] for step in steps}
    assert 1 in sizes and max(sizes) > 2, "both kinds are met"
    for step in steps:
        quiet, batch = plain[step]["features"], whole[step]["features"]
        alone = plain[step]["num_step_windows"] == 1
        for row, real in enumerate(plain[step]["num_real_frames"].tolist()):
            assert torch.equal(batch[row, :real], quiet[row, :real]) == alone
        for half in halves:
            places = half.places(step)
            if places:
                part = half[step]["features"]
                assert torch.equal(part, batch[list(places), : part.shape[1]])

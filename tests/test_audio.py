"""Files are made on the fly; a chirp shows a shift in time, and noise would not (AAC replaces noise by other noise)."""

import inspect
import io
import os
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import soxr

from skipwise.audio import MIN_SAMPLES, SAMPLE_RATE, audio_info, load_audio, stream_audio
from skipwise.errors import SkipwiseError, SkipwiseWarning

SOUNDFILE_FORMATS = [
    ("wav", "PCM_16", 1e-4),
    ("wav", "PCM_24", 1e-6),
    ("wav", "FLOAT", 1e-6),
    ("wav", "PCM_U8", 1e-2),
    ("flac", "PCM_16", 1e-4),
    ("ogg", "VORBIS", 0.1),
    ("mp3", "MPEG_LAYER_III", 0.05),
]
"""Container, coding, and the largest error that this coding makes on a chirp of amplitude 0.3."""

AV_FORMATS = [
    ("m4a", "mp4", "aac", {}),
    ("mp4", "mp4", "aac", {"movflags": "+faststart"}),
    ("fragments.mp4", "mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("webm", "webm", "libopus", {}),
    ("mka", "matroska", "pcm_s16le", {}),
    ("aac", "adts", "aac", {}),
]


def chirp(duration_s: float, rate: int, channels: int = 1) -> np.ndarray:
    """[samples, channels] sweep from 200 to 1,400 Hz: each moment has its own pitch."""
    time_s = np.arange(round(duration_s * rate)) / rate
    mono = 0.3 * np.sin(2 * np.pi * (200 * time_s + 600 * time_s**2 / max(duration_s, 1e-9)))
    return np.repeat(mono[:, None], channels, axis=1).astype(np.float32)


def with_soundfile(path: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def with_av(path: Path, samples: np.ndarray, rate: int, container: str, codec: str, options: dict[str, str]) -> Path:
    with av.open(path, "w", format=container, options=options) as output:
        layout = "stereo" if samples.shape[1] == 2 else "mono"
        stream: Any = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in (frame, None):
            for packet in stream.encode(part):
                output.mux(packet)
    return path


def beginning(path: Path, share: float) -> Path:
    content = path.read_bytes()
    cut = path.with_name(f"cut-{path.name}")
    cut.write_bytes(content[: int(len(content) * share)])
    return cut


def shift_of(samples: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples of 16 kHz `samples` comes later than `reference`, from the peak of their correlation."""
    size = 2 * max(len(samples), len(reference))
    correlation = np.fft.irfft(np.fft.rfft(samples, size) * np.conj(np.fft.rfft(reference, size)), size)
    peak = int(correlation.argmax())
    return peak if peak < size // 2 else peak - size


# ---- formats, rates, channels


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), SOUNDFILE_FORMATS)
def test_soundfile_formats_come_back_as_they_were(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    path = with_soundfile(tmp_path / f"a.{suffix}", chirp(2, SAMPLE_RATE, 2), SAMPLE_RATE, subtype)
    loaded = load_audio(path)
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, chirp(2, SAMPLE_RATE)[:, 0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_reading_block_by_block_loses_nothing(tmp_path: Path, subtype: str) -> None:
    path = with_soundfile(tmp_path / "a.ogg", chirp(5, SAMPLE_RATE), SAMPLE_RATE, subtype)
    np.testing.assert_array_equal(load_audio(path), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize(("suffix", "container", "codec", "options"), AV_FORMATS)
def test_av_formats_come_back_as_they_were(
    tmp_path: Path, suffix: str, container: str, codec: str, options: dict[str, str]
) -> None:
    path = with_av(tmp_path / f"a.{suffix}", chirp(3, 48_000, 2), 48_000, container, codec, options)
    loaded = load_audio(path)
    assert len(loaded) == pytest.approx(3 * SAMPLE_RATE, abs=0.07 * SAMPLE_RATE)  # codecs pad
    priming = 0.05 if suffix in ("aac", "fragments.mp4") else 0.001  # these two do not hide it
    assert 0 <= shift_of(loaded, chirp(3, SAMPLE_RATE)[:, 0]) <= priming * SAMPLE_RATE


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_056, 48_000, 192_000])
def test_any_rate_is_resampled_as_in_one_go(rate: int) -> None:
    samples = chirp(1.5, rate)[:, 0]
    np.testing.assert_allclose(
        load_audio((samples, rate)), soxr.resample(samples, rate, SAMPLE_RATE), rtol=0, atol=1e-6
    )


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = np.stack([np.full(1_600, value, np.float32) for value in np.linspace(-0.5, 0.9, 8)], axis=1)
    path = with_soundfile(tmp_path / "a.wav", samples, SAMPLE_RATE, "FLOAT")
    np.testing.assert_allclose(load_audio(path), np.full(1_600, 0.2), rtol=0, atol=1e-6)
    assert audio_info(path).num_channels == 8


def test_arrays_of_integers_are_scaled() -> None:
    as_float = chirp(0.5, SAMPLE_RATE)[:, 0]
    for array in (
        (as_float * 2**15).astype(np.int16),
        (as_float * 2.0**31).astype(np.int32),
        (as_float.astype(np.float64)),
        (as_float * 128 + 128).astype(np.uint8),
    ):
        tolerance = 1e-2 if array.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(load_audio((array, SAMPLE_RATE)), as_float, rtol=0, atol=tolerance)


def test_path_text_bytes_file_and_pipe_are_the_same(tmp_path: Path) -> None:
    path = with_soundfile(tmp_path / "a.flac", chirp(1, 22_050), 22_050)
    reader, writer = os.pipe()
    os.write(writer, path.read_bytes()[:60_000])
    os.close(writer)
    with open(path, "rb") as file, os.fdopen(reader, "rb") as pipe:
        assert not pipe.seekable()
        loaded = [
            load_audio(source)
            for source in (path, str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes()), pipe)
        ]
    for other in loaded[1:]:
        np.testing.assert_array_equal(other, loaded[0])


def test_the_header_is_told_without_decoding(tmp_path: Path) -> None:
    info = audio_info(with_soundfile(tmp_path / "a.wav", chirp(2, 44_100, 2), 44_100))
    assert (info.sample_rate, info.num_channels, info.duration_s) == (44_100, 2, 2.0)
    assert audio_info(with_av(tmp_path / "a.m4a", chirp(2, 48_000), 48_000, "mp4", "aac", {})).duration_s == 2.0
    assert audio_info(with_av(tmp_path / "a.aac", chirp(2, 48_000), 48_000, "adts", "aac", {})).duration_s is None


# ---- segments


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_a_segment_is_that_part_of_the_whole(tmp_path: Path, rate: int) -> None:
    path = with_soundfile(tmp_path / "a.wav", chirp(4, rate, 2), rate, "FLOAT")
    whole = load_audio(path)
    for start_s, end_s in ((0.0, 1.0), (1.2345, 2.5), (3.9, 4.0), (2.0, None), (0.1, 99.0)):
        segment = load_audio(path, start_s=start_s, end_s=end_s)
        expected = whole[round(start_s * SAMPLE_RATE) : None if end_s is None else round(end_s * SAMPLE_RATE)]
        np.testing.assert_allclose(segment, expected, rtol=0, atol=1e-6)  # the resampler rounds otherwise


@pytest.mark.parametrize(("suffix", "container", "codec", "options"), AV_FORMATS)
def test_a_segment_of_a_compressed_file_starts_within_two_milliseconds(
    tmp_path: Path, suffix: str, container: str, codec: str, options: dict[str, str]
) -> None:
    path = with_av(tmp_path / f"a.{suffix}", chirp(8, 48_000), 48_000, container, codec, options)
    whole = load_audio(path)
    for start_s in (0.2, 3.337, 6.5):
        segment = load_audio(path, start_s=start_s, end_s=start_s + 1)
        assert len(segment) == SAMPLE_RATE
        assert abs(shift_of(segment, whole[round(start_s * SAMPLE_RATE) :][: len(segment)])) <= 0.002 * SAMPLE_RATE


def test_a_late_segment_of_a_long_m4a_decodes_only_its_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_av(tmp_path / "a.m4a", chirp(60, 16_000), 16_000, "mp4", "aac", {})
    decoded, make = [], av.AudioResampler

    class Counted:
        def __init__(self, **options: Any) -> None:
            self._resampler = make(**options)

        def resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
            decoded.append(frame)
            return self._resampler.resample(frame)

    monkeypatch.setattr(av, "AudioResampler", Counted)
    load_audio(path, start_s=50, end_s=51)
    assert 16 <= len(decoded) < 60  # of 938


# ---- streams


def test_a_stream_is_the_file_in_blocks(tmp_path: Path) -> None:
    for path in (
        with_soundfile(tmp_path / "a.wav", chirp(3.3, 44_100, 2), 44_100),
        with_av(tmp_path / "a.m4a", chirp(3.3, 48_000), 48_000, "mp4", "aac", {}),
    ):
        blocks = list(stream_audio(path, block_s=0.5))
        assert {len(block) for block in blocks[:-1]} == {SAMPLE_RATE // 2}
        assert 0 < len(blocks[-1]) <= SAMPLE_RATE // 2
        np.testing.assert_array_equal(np.concatenate(blocks), load_audio(path))


def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(10):
            file.write(chirp(60, 8_000))
    tracemalloc.start()
    num_samples = sum(len(block) for block in stream_audio(path, block_s=1.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_samples == 600 * SAMPLE_RATE
    assert peak < 2_000_000  # all of it would be 38 MB, ten seconds are 0.6 MB


# ---- broken files: as far as they go


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "mp4", "fragments.mp4", "webm"])
def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    samples = chirp(6, 48_000) + np.random.default_rng(0).normal(0, 0.02, (6 * 48_000, 1)).astype(np.float32)
    if suffix in ("wav", "flac", "mp3", "ogg"):
        with_soundfile(path, samples, 48_000, {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS"}.get(suffix, "PCM_16"))
    else:
        _, container, codec, options = next(entry for entry in AV_FORMATS if entry[0] == suffix)
        with_av(path, samples, 48_000, container, codec, options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = load_audio(path)  # the complete file is no reason to warn
    cut = beginning(path, 0.6)
    with pytest.warns(
        SkipwiseWarning, match=r"cut-a.* breaks off or is damaged: read as far as it goes, to second [34]\."
    ):
        loaded = load_audio(cut)
    assert 3 * SAMPLE_RATE < len(loaded) < 4.5 * SAMPLE_RATE
    np.testing.assert_allclose(loaded[: 2 * SAMPLE_RATE], whole[: 2 * SAMPLE_RATE], rtol=0, atol=0.1)
    with pytest.warns(SkipwiseWarning, match="breaks off"):
        assert sum(len(block) for block in stream_audio(cut)) == len(loaded)


def test_a_damaged_packet_is_left_out(tmp_path: Path) -> None:
    path = with_av(tmp_path / "a.m4a", chirp(6, 48_000), 48_000, "mp4", "aac", {"movflags": "+faststart"})
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2_000] = b"\xff" * 2_000
    with pytest.warns(SkipwiseWarning, match="is damaged"):
        assert len(load_audio(bytes(content))) > 4 * SAMPLE_RATE


@pytest.mark.parametrize("damage", [(b"DURATION", b"DURATJON"), (b"00:00:0", b"00x00x0")])
def test_a_damaged_header_field_does_not_matter(tmp_path: Path, damage: tuple[bytes, bytes]) -> None:
    path = with_av(tmp_path / "a.mka", chirp(2, 48_000), 48_000, "matroska", "pcm_s16le", {})
    assert damage[0] in path.read_bytes()
    assert len(load_audio(path.read_bytes().replace(*damage), start_s=1.0)) == pytest.approx(SAMPLE_RATE, abs=16)


def test_an_index_that_cannot_be_used_means_reading_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_av(tmp_path / "a.m4a", chirp(3, 48_000), 48_000, "mp4", "aac", {})
    whole = load_audio(path)

    class Unseekable:
        def __init__(self, container: Any) -> None:
            self._container = container

        def __getattr__(self, name: str) -> Any:
            return getattr(self._container, name)

        def __enter__(self) -> "Unseekable":
            return self

        def __exit__(self, *_: object) -> None:
            self._container.close()

        def seek(self, *_: object, **__: object) -> None:
            raise av.error.PermissionError(1, "Operation not permitted")

    make = av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: Unseekable(make(*args, **options)))
    with pytest.warns(SkipwiseWarning, match="is damaged"):
        segment = load_audio(path, start_s=1.5)
    np.testing.assert_allclose(segment, whole[round(1.5 * SAMPLE_RATE) :], rtol=0, atol=1e-6)


def test_a_wav_written_to_a_pipe_is_complete(tmp_path: Path) -> None:
    content = bytearray(with_soundfile(tmp_path / "a.wav", chirp(1, SAMPLE_RATE), SAMPLE_RATE).read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"  # sizes that nobody knew when the header was written
    assert len(load_audio(bytes(content))) == SAMPLE_RATE


def test_an_mp4_without_its_index_says_so(tmp_path: Path) -> None:
    path = with_av(tmp_path / "a.m4a", chirp(6, 48_000), 48_000, "mp4", "aac", {})
    with pytest.raises(SkipwiseError, match=r"cut-a.m4a is an MP4 file without its index \(moov\): .* broke off"):
        load_audio(beginning(path, 0.6))


# ---- wrong input


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match=r"there is no file .*/no\.wav\. Check the path"):
        load_audio(tmp_path / "no.wav")


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match="is a directory, not an audio file"):
        load_audio(tmp_path)


def test_a_name_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkipwiseError, match="cannot be opened: File name too long"):
        load_audio(tmp_path / ("a" * 300))


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(SkipwiseError, match=r"a\.wav is empty \(0 bytes\)"):
        load_audio(tmp_path / "a.wav")
    with pytest.raises(SkipwiseError, match=r"the given data is empty"):
        next(stream_audio(b""))


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.mp3", "a.txt", "a"])
@pytest.mark.parametrize("content", [b"Dear President,\n" * 100, bytes(range(256)) * 40, b"\0" * 5_000, b"x"])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        SkipwiseError, match=r"is not audio that can be read|has no audio track|no samples that can be decoded"
    ):
        load_audio(tmp_path / name)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mp4", "w") as output:
        stream = output.add_stream("mpeg4", rate=5, width=16, height=16, pix_fmt="yuv420p")
        for part in (av.VideoFrame(16, 16, "yuv420p"), None):
            for packet in stream.encode(part):
                output.mux(packet)
    with pytest.raises(SkipwiseError, match=r"a\.mp4 has no audio track, got video"):
        load_audio(tmp_path / "a.mp4")


def test_a_header_without_samples_is_named(tmp_path: Path) -> None:
    complete = with_soundfile(tmp_path / "a.wav", chirp(1, SAMPLE_RATE), SAMPLE_RATE).read_bytes()
    empty = with_soundfile(tmp_path / "b.wav", np.zeros((0, 1), np.float32), SAMPLE_RATE).read_bytes()
    for content in (complete[:44], complete[:20], empty):
        with pytest.raises(SkipwiseError, match="has a header but no samples after it"):
            load_audio(content)


def test_less_than_one_analysis_window_is_refused() -> None:
    assert len(load_audio((np.zeros(MIN_SAMPLES, np.float32), SAMPLE_RATE))) == MIN_SAMPLES
    short = (np.zeros(MIN_SAMPLES - 1, np.float32), SAMPLE_RATE)
    with pytest.raises(
        SkipwiseError, match=r"holds 399 samples at 16 kHz, less than one analysis window. Allowed are 400"
    ):
        load_audio(short)
    with pytest.raises(SkipwiseError, match="holds 399 samples"):
        next(stream_audio(short))
    with pytest.raises(SkipwiseError, match=r"between start_s = 0\.5 and end_s = 0\.51, less than one analysis window"):
        load_audio((np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE), start_s=0.5, end_s=0.51)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_located(tmp_path: Path, value: float) -> None:
    samples = chirp(2, 8_000)
    samples[12_000] = value
    path = with_soundfile(tmp_path / "a.wav", samples, 8_000, "FLOAT")
    with pytest.raises(SkipwiseError, match=r"a\.wav holds a sample that is NaN or infinite at second 1\.500: got "):
        load_audio(path)
    with pytest.raises(SkipwiseError, match=r"at second 1\.500"):
        load_audio(path, start_s=1.4)


def test_unscaled_integers_are_suspected() -> None:
    with pytest.warns(SkipwiseWarning, match=r"reaches 9830 where full scale is 1\.0.*divide by 32768"):
        load_audio((chirp(1, SAMPLE_RATE)[:, 0] * 32768, SAMPLE_RATE))


def test_a_start_beyond_the_end_is_refused(tmp_path: Path) -> None:
    samples = chirp(2, 48_000)
    for path in (
        with_soundfile(tmp_path / "a.wav", samples, 48_000),
        with_av(tmp_path / "a.m4a", samples, 48_000, "mp4", "aac", {}),
    ):
        with pytest.raises(
            SkipwiseError, match=r"start_s = 2\.5 lies beyond the end of .*: allowed is less than its 2\.000"
        ):
            load_audio(path, start_s=2.5)
    with pytest.raises(
        SkipwiseError, match=r"no samples that can be decoded between start_s = 9"
    ):  # no duration in raw AAC
        load_audio(with_av(tmp_path / "a.aac", samples, 48_000, "adts", "aac", {}), start_s=9)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"start_s": -1.0}, "start_s must be 0 or more seconds, got -1.0"),
        ({"start_s": float("nan")}, "start_s must be 0 or more"),
        ({"start_s": 1.0, "end_s": 1.0}, "end_s must lie after start_s = 1.0, got 1.0"),
    ],
)
def test_times_in_the_wrong_order_are_refused(times: dict[str, float], message: str) -> None:
    with pytest.raises(SkipwiseError, match=message):
        load_audio((np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE), **times)


@pytest.mark.parametrize("rate", [0, -1, 3_999, 192_001])
def test_a_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(SkipwiseError, match=f"has a sample rate of {rate} Hz; allowed are 4000 to 192000"):
        load_audio((np.zeros(SAMPLE_RATE, np.float32), rate))


@pytest.mark.parametrize("array", [np.zeros((2, 16_000)), np.zeros((1, 2, 3)), np.zeros(()), np.array(["a"] * 999)])
def test_an_array_of_another_shape_is_refused(array: np.ndarray) -> None:
    with pytest.raises(SkipwiseError, match=r"must be numbers of shape \[samples\] or \[samples, channels\], got "):
        load_audio((array, SAMPLE_RATE))


def test_another_type_is_refused() -> None:
    unchecked = inspect.unwrap(load_audio)  # the suite's own type check would come first
    for source in (np.zeros(16_000), 3, io.StringIO("text")):
        with pytest.raises(SkipwiseError, match=r"cannot read audio from (ndarray|int|StringIO); allowed are a path"):
            unchecked(source)


def test_blocks_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(SkipwiseError, match=r"block_s must be at least 0\.025 s, got 0\.01"):
        stream_audio(b"", block_s=0.01)


def test_every_message_says_what_to_do_next(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for source in (tmp_path, tmp_path / "empty", tmp_path / "missing", b"text"):
        with pytest.raises(SkipwiseError, match=r"(Check|Name|Give|Convert|Copy) .+"):
            load_audio(source)

"""Any audio file, as mono 16 kHz float32."""

from skipwise.audio.load import MIN_SAMPLES, SAMPLE_RATE, audio_info, load_audio, stream_audio
from skipwise.audio.source import AudioSource
from skipwise.audio.tracks import AudioInfo

__all__ = ["MIN_SAMPLES", "SAMPLE_RATE", "AudioInfo", "AudioSource", "audio_info", "load_audio", "stream_audio"]

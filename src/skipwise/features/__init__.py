"""Front ends: from waveforms to what a model reads."""

from skipwise.features.speech import SpeechStates, extract_features, pad_features

__all__ = ["SpeechStates", "extract_features", "pad_features"]

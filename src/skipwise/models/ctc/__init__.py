"""Encoder-only models with a CTC head: transformers' wav2vec2, HuBERT and WavLM `ForCTC`."""

"""Whisper as transformers has it: gated layers in place of its own, and the packed engine."""

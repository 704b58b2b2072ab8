"""OWSM in plain torch, and one thin file that makes it a transformers model."""

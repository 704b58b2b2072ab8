"""From encoder states to text: windows, search and what comes out."""

from skipwise.decoding.hypothesis import Hypothesis
from skipwise.decoding.language import predict_language
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Segment, Timings, Transcript
from skipwise.decoding.search import search

__all__ = ["DecodeOptions", "Hypothesis", "Segment", "Timings", "Transcript", "predict_language", "search"]

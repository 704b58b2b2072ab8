"""From encoder states to text: windows, search and what comes out."""

from skipwise.decoding.greedy import Hypothesis, greedy_search
from skipwise.decoding.options import DecodeOptions
from skipwise.decoding.result import Segment, Timings, Transcript

__all__ = ["DecodeOptions", "Hypothesis", "Segment", "Timings", "Transcript", "greedy_search"]

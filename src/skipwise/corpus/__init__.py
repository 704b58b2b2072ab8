"""The synthetic parliament corpus: a parallel grammar, spoken by espeak-ng, on disk as Europarl-ST is.

`build_corpus(out, CorpusSettings(hours=1.0))` makes one; `draw_meaning` and `render` are the grammar alone.
"""

from skipwise.corpus.grammar import Meaning, draw_meaning, render
from skipwise.corpus.settings import CorpusSettings
from skipwise.corpus.writer import build_corpus

__all__ = ["CorpusSettings", "Meaning", "build_corpus", "draw_meaning", "render"]

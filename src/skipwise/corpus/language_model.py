"""An n-gram model of words, to see how predictable a text is: interpolated, with Witten-Bell smoothing.

Source: S. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling", 1998, section 2.5.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

ORDER = 5

_START, _END = "<s>", "</s>"
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?")


def words(sentence: str) -> list[str]:
    """The words of a sentence in lower case, without marks."""
    return _WORD.findall(sentence.lower())


class WordModel:
    """Probabilities of the next word, learnt from sentences.

    Words that training does not know share the mass of one unknown word, over the vocabulary of both texts.
    """

    def __init__(self, sentences: Iterable[Sequence[str]], *, order: int = ORDER) -> None:
        self.order = order
        self._counts: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for sentence in sentences:
            padded = (*[_START] * (order - 1), *sentence, _END)
            for place in range(order - 1, len(padded)):
                for length in range(order):
                    self._counts[padded[place - length : place]][padded[place]] += 1
        self._totals = {context: sum(followers.values()) for context, followers in self._counts.items()}
        self.vocabulary = frozenset(self._counts[()])

    def probability(self, word: str, context: Sequence[str], *, size: int) -> float:
        """The probability of `word` after `context` (its last `order` - 1 words), among `size` different words."""
        found = 1.0 / size
        for length in range(self.order):
            key = tuple(context[len(context) - length :])
            followers = self._counts.get(key)
            if followers is None:
                break
            total, kinds = self._totals[key], len(followers)
            found = (followers.get(word, 0) + kinds * found) / (total + kinds)
        return found

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> float:
        """The perplexity per word, ends of sentences included."""
        size = len(self.vocabulary | {word for sentence in sentences for word in sentence})
        log_sum, count = 0.0, 0
        for sentence in sentences:
            padded = (*[_START] * (self.order - 1), *sentence, _END)
            for place in range(self.order - 1, len(padded)):
                context = padded[place - self.order + 1 : place]
                log_sum += math.log(self.probability(padded[place], context, size=size))
                count += 1
        return math.exp(-log_sum / max(count, 1))

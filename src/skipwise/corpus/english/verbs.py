"""English verbs: regular and not, with particles and prepositions."""

_DOUBLING = ("set", "put", "cut", "run", "forget", "win")


class Verb:
    """A lexicon cell: "adopt", "withdraw/withdrew/withdrawn", "carry+out", "vote:for", "ask>a question".

    After "+" stands a particle, after ":" the preposition of the object, after ">" an object that belongs to the verb.
    """

    def __init__(self, cell: str):
        cell, _, self.literal = cell.partition(">")
        cell, _, self.governs = cell.partition(":")
        cell, _, self.particle = cell.partition("+")
        forms, _, self.tail = cell.partition(" ")
        parts = forms.split("/")
        self.infinitive = parts[0]
        self.past, self.participle = self._pasts(parts[1:])

    def _pasts(self, given: list[str]) -> tuple[str, str]:
        if given:
            return given[0], given[-1]
        word = self.infinitive
        if word.endswith("e"):
            regular = f"{word}d"
        elif word.endswith("y") and word[-2] not in "aeiou":
            regular = f"{word[:-1]}ied"
        else:
            regular = f"{word}ed"
        return regular, regular

    def present(self, person: str) -> str:
        """The present: "adopts" for the third person singular."""
        word = self.infinitive
        if person != "3s":
            return word
        if word == "have":
            return "has"
        if word.endswith(("sh", "ss", "ch", "x", "o")):
            return f"{word}es"
        return f"{word[:-1]}ies" if word.endswith("y") and word[-2] not in "aeiou" else f"{word}s"

    @property
    def gerund(self) -> str:
        """ "adopting", "withdrawing", "banning"."""
        word = self.infinitive
        doubled = f"{word}{word[-1]}"
        if self.past.startswith(doubled) or word in (
            "set",
            "put",
            "cut",
            "begin",
            "run",
            "forget",
            "let",
            "win",
            "get",
        ):
            return f"{doubled}ing"
        return f"{word[:-1]}ing" if word.endswith("e") and not word.endswith(("ee", "oe")) else f"{word}ing"

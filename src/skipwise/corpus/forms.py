"""What the four languages share: a word that a sentence pattern asks for one of its forms."""

import re
from abc import ABC, abstractmethod


class Form(ABC):
    """A word or phrase in a sentence pattern: `{topic:acc}` asks it for its form "acc"."""

    plural: bool = False

    @abstractmethod
    def form(self, spec: str) -> str:
        """The form named `spec`; an unknown name is a bug in a pattern."""

    def __format__(self, spec: str) -> str:
        if spec.startswith("#"):
            singular, plural = spec[1:].split("|")
            return plural if self.plural else singular
        return self.form(spec)

    @property
    def num(self) -> str:
        """ "s" or "p", for the verb that agrees with this subject."""
        return "p" if self.plural else "s"


class Fixed(Form):
    """A word that has one form."""

    def __init__(self, text: str):
        self.text = text

    def form(self, spec: str) -> str:
        assert spec == "", spec
        return self.text


def starts_with_vowel(word: str) -> bool:
    """Whether French and Italian elide before `word` (every h of the lexicon is consonantal: "la Hongrie")."""
    return word[0].lower() in "aeiouéèêàîô"


def finish(text: str) -> str:
    """The sentence with single blanks, no blank before a comma, a capital at its start and a mark at its end."""
    text = re.sub(r"\s+([,.?])", r"\1", re.sub(r"\s+", " ", text)).strip()
    text = text[0].upper() + text[1:]
    return text if text.endswith("?") else f"{text}."

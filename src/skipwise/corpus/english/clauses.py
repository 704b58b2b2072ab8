"""English clauses: do-support, stranded prepositions, particles."""

from typing import cast

from skipwise.corpus.english.nouns import Pronoun
from skipwise.corpus.english.verbs import Verb
from skipwise.corpus.forms import Clause, Entity, joined

_MODALS = {"future": "will", "must": "must", "can": "can", "should": "should", "would": "would"}

_NONFINITE = ("infinitive", "gerund", "named-infinitive", "named-gerund")


def clause(parts: Clause, shape: str) -> str:
    """The clause as `shape`: main, question, imperfect (the past, after if), infinitive (to), gerund, and named- these
    (with the subject); relative (to its object), who (to its subject), which, which-question (asking for its object).
    """
    verb = cast(Verb, parts.verb)
    if shape in _NONFINITE:
        gerund = shape.endswith("gerund")
        core = verb.gerund if gerund else joined("to", parts.manner, verb.infinitive)
        trailing = parts.manner if gerund else ""
        no = parts.negation
        named = parts.subject.form("") if shape.startswith("named") and parts.subject is not None else ""
        return joined(named, no, core, verb.tail, _object(parts, verb), trailing, parts.time)
    subject = parts.object if parts.passive else parts.subject
    assert subject is not None
    first, rest = _verbs(parts, verb, subject, shape)
    negation = parts.negation
    if (first, negation) == ("can", "not") and "question" not in shape:
        first, negation = "cannot", ""
    named = _named(parts, subject, shape)
    if shape in ("question", "which-question"):
        core = joined(first, named, negation, rest)
    else:
        core = joined(named, first, negation, rest)
    late = "" if parts.tense == "perfect" else parts.time
    return joined(_head(parts, shape), core, verb.tail, _object(parts, verb), late)


def _named(parts: Clause, subject: Entity, shape: str) -> str:
    """The subject, where it is said."""
    if shape == "who":
        return "who" if subject.human else "that"
    if parts.passive and parts.role != "noun":
        return "" if parts.role == "gap" else as_pronoun(subject).form("")
    return subject.form("")


def _head(parts: Clause, shape: str) -> str:
    """What opens a relative clause or a question for the object."""
    if shape.startswith("which"):
        assert parts.object is not None
        return parts.object.form("")
    return "that" if shape == "relative" or (parts.passive and parts.role == "gap") else ""


def _verbs(parts: Clause, verb: Verb, subject: Entity, shape: str) -> tuple[str, str]:
    """The first (auxiliary) verb, after which "not" stands, and the rest with the adverb of manner."""
    person, tense = subject.person, parts.tense
    plural = person != "3s"
    asking = shape in ("question", "which-question")
    if parts.passive:
        first, between = {
            "passive-past": (_was(person), ""),
            "passive-future": ("will", "be"),
            "passive-must": ("must", "be"),
        }[tense]
        return first, joined(between, parts.manner, verb.participle, verb.particle)
    if shape == "imperfect":
        return _past(parts, verb)
    if tense in _MODALS:
        return _MODALS[tense], joined(parts.manner, verb.infinitive)
    if tense in ("perfect", "pluperfect"):
        helper = "had" if tense == "pluperfect" else "have" if plural else "has"
        return helper, joined(parts.time if tense == "perfect" else "", parts.manner, verb.participle)
    if tense == "past":
        if asking:
            return "did", joined(parts.manner, verb.infinitive)
        return _past(parts, verb)
    if asking or parts.negation == "not":
        return "do" if plural else "does", joined(parts.manner, verb.infinitive)
    return "", joined(parts.manner, verb.present(person))


def _past(parts: Clause, verb: Verb) -> tuple[str, str]:
    if parts.negation == "not":
        return "did", joined(parts.manner, verb.infinitive)
    return "", joined(parts.manner, verb.past)


def _was(person: str) -> str:
    return "was" if person[1] == "s" else "were"


def as_pronoun(entity: Entity) -> Pronoun:
    """The pronoun for an entity."""
    pronoun = Pronoun(entity.person, entity.gender)
    pronoun.human = entity.human
    return pronoun


def _object(parts: Clause, verb: Verb) -> str:
    if verb.literal:
        return joined(verb.particle, verb.literal)
    if parts.passive or parts.object is None:
        return "" if parts.passive else verb.particle
    if parts.role == "gap":
        return joined(verb.particle, verb.governs)
    if parts.role == "pronoun":
        return joined(as_pronoun(parts.object).form(verb.governs or "obj"), verb.particle)
    return joined(verb.particle, parts.object.form(verb.governs))

"""German clauses: verb second, verb first, verb last, and infinitives with "zu"."""

from collections.abc import Mapping
from typing import cast

from skipwise.corpus.forms import Clause, Entity, joined
from skipwise.corpus.german.nouns import Pronoun
from skipwise.corpus.german.verbs import AUXILIARIES, Verb

_HELPERS: Mapping[str, str] = {
    "future": "werden",
    "must": "müssen",
    "can": "können",
    "should": "sollen",
    "would": "würde",
    "passive-past": "wurde",
    "passive-future": "werden",
    "passive-must": "müssen",
}
_NEGATIONS = {"": "", "not": "nicht", "never": "nie", "not yet": "noch nicht", "no longer": "nicht mehr"}
_REFLEXIVES = {"1s": "mich", "1p": "uns", "3s": "sich", "3p": "sich"}


def clause(parts: Clause, shape: str) -> str:
    """The clause as `shape`: main, inverted (verb first), sub (verb last), infinitive (with zu), plain-infinitive;
    relative (to its object),
    who (relative to its subject), which and which-question (asking for its object), object-first.
    """
    verb = cast(Verb, parts.verb)
    if shape in ("infinitive", "plain-infinitive"):
        person = "3s" if parts.subject is None else parts.subject.person
        return joined(_middle(parts, verb, person), verb.zu if shape == "infinitive" else verb.infinitive)
    subject = parts.object if parts.passive else parts.subject
    assert subject is not None
    person = subject.person
    named = "" if parts.passive and parts.role == "gap" else subject.form("nom")
    if parts.passive and parts.role == "pronoun":
        named = as_pronoun(subject).form("nom")
    finite, right = _verbs(parts, verb, person)
    middle = _middle(parts, verb, person)
    if shape == "main":
        return joined(named, finite, middle, right)
    if shape in ("inverted", "object-first", "which-question"):
        return joined("" if shape == "inverted" else _head(parts, verb, shape), finite, named, middle, right)
    last = verb.joined_prefix + finite if parts.tense == "present" else joined(right, finite)
    if shape == "sub":
        return joined(named, middle, last)
    if shape == "who":
        return joined(subject.form("rel.nom"), middle, last)
    return joined(_head(parts, verb, shape), named, middle, last)


def _head(parts: Clause, verb: Verb, shape: str) -> str:
    """What opens a relative clause or a question for the object."""
    assert parts.object is not None and shape in ("relative", "which", "which-question", "object-first"), shape
    if shape != "relative":
        return parts.object.form(verb.governs)
    return parts.object.form("rel.nom" if parts.passive else f"rel.{verb.governs}")


def _verbs(parts: Clause, verb: Verb, person: str) -> tuple[str, str]:
    """The finite verb, and what stands at the end of a main clause."""
    tense = parts.tense
    if tense == "present":
        return verb.present(person), verb.prefix
    finite = AUXILIARIES[_helper(parts, verb)][person]
    if tense == "passive-must":
        return finite, f"{verb.participle} werden"
    uses_participle = tense in ("past", "perfect", "pluperfect", "passive-past", "passive-future")
    return finite, verb.participle if uses_participle else verb.infinitive


def _helper(parts: Clause, verb: Verb) -> str:
    """The auxiliary or modal verb of a tense."""
    if parts.tense in ("past", "perfect"):
        return verb.auxiliary
    if parts.tense == "pluperfect":
        return {"haben": "hatte", "sein": "war"}[verb.auxiliary]
    # "must not" forbids; "muss nicht" would only not demand
    return "dürfen" if parts.tense == "must" and parts.negation else _HELPERS[parts.tense]


def as_pronoun(entity: Entity) -> Pronoun:
    """The pronoun for an entity."""
    return Pronoun(entity.person, entity.gender, thing=not entity.human)


def _object(parts: Clause, verb: Verb) -> str:
    if verb.literal or parts.object is None or parts.passive or parts.role == "gap":
        return verb.literal
    entity = as_pronoun(parts.object) if parts.role == "pronoun" else parts.object
    return entity.form(verb.governs)


def _middle(parts: Clause, verb: Verb, person: str) -> str:
    """What stands between the two verbs, in the order that a speaker chooses without stress."""
    phrase = _object(parts, verb)
    itself = _REFLEXIVES[person] if verb.reflexive else ""
    no = _NEGATIONS[parts.negation]
    if not phrase:
        return joined(itself, parts.time, no, parts.manner)
    if verb.literal or verb.governs not in ("acc", "dat"):
        return joined(itself, parts.time, no, parts.manner, phrase)
    if no or parts.role == "pronoun":
        return joined(itself, phrase, parts.time, no, parts.manner)
    return joined(itself, parts.time, phrase, parts.manner)

"""French clauses: clitics, the two halves of the negation, agreement of participles, inversion."""

from typing import cast

from skipwise.corpus.forms import Clause, Entity, joined, starts_with_vowel
from skipwise.corpus.french.nouns import Pronoun, agreed
from skipwise.corpus.french.verbs import AUXILIARIES, SUBJUNCTIVE_AUXILIARIES, Verb

_REFLEXIVES = {"1s": "me", "1p": "nous", "3s": "se", "3p": "se"}
_NEGATIONS = {"not": "pas", "never": "jamais", "not yet": "pas encore", "no longer": "plus"}
_HELPERS = {
    "past": "avoir",
    "perfect": "avoir",
    "pluperfect": "avait",
    "must": "devoir",
    "can": "pouvoir",
    "should": "devrait",
    "passive-past": "avoir",
    "passive-future": "sera",
    "passive-must": "devoir",
}

_REFLEXIVE_HELPERS = {"past": "être", "perfect": "être", "pluperfect": "était"}


def clause(parts: Clause, shape: str) -> str:
    """The clause as `shape`: main, subjunctive, question (inverted), imperfect (after si), infinitive; relative (to its
    object), who (to its subject), which and which-question (asking for its object).
    """
    verb = cast(Verb, parts.verb)
    if shape == "infinitive":
        clitic = _clitic(parts, verb, "3s")
        no = joined("ne", _NEGATIONS[parts.negation]) if parts.negation else ""
        return joined(no, clitic, verb.infinitive, verb.tail, parts.manner, _object(parts, verb), parts.late_time)
    subject = parts.object if parts.passive else parts.subject
    assert subject is not None
    finite, rest = _verbs(parts, verb, subject, shape)
    if parts.passive and parts.role == "gap":
        return joined(_relative(parts, verb), _negated(parts, "", finite), rest, parts.manner, parts.time)
    named = as_pronoun(subject) if parts.passive and parts.role == "pronoun" else subject
    clitic = "" if parts.has_modal else _clitic(parts, verb, subject.person)
    if shape in ("question", "which-question"):
        start, core = _inverted(parts, clitic, finite, named)
    else:
        start, core = "qui" if shape == "who" else named.form(""), _negated(parts, clitic, finite)
    head = ""
    if shape == "relative":
        head = _relative(parts, verb)
    elif shape.startswith("which"):
        assert parts.object is not None
        head = parts.object.form(verb.governs)
    return joined(head, start, core, rest, verb.tail, parts.manner, _object(parts, verb), parts.late_time)


def _verbs(parts: Clause, verb: Verb, subject: Entity, shape: str) -> tuple[str, str]:
    """The finite verb, and the participle or infinitive with what clings to it."""
    tense, person = parts.tense, subject.person
    if tense in ("present", "future", "would"):
        return _simple(tense, verb, person, shape), ""
    tables = SUBJUNCTIVE_AUXILIARIES if shape == "subjunctive" else AUXILIARIES
    helper = _REFLEXIVE_HELPERS.get(tense, _HELPERS[tense]) if verb.reflexive else _HELPERS[tense]
    finite = tables[helper][person]
    if parts.passive:
        between = {"passive-past": "été", "passive-future": "", "passive-must": "être"}[tense]
        return finite, joined(between, agreed(verb.participle, subject.agr))
    if parts.has_modal:
        return finite, joined(_clitic(parts, verb, person), verb.infinitive)
    agreement = subject.agr if verb.reflexive else "ms"
    if not verb.reflexive and parts.role in ("pronoun", "gap") and verb.governs == "" and parts.object is not None:
        agreement = parts.object.agr
    # "a déjà adopté", but "a adopté rapidement"
    return finite, joined(parts.time if tense == "perfect" else "", agreed(verb.participle, agreement))


def _simple(tense: str, verb: Verb, person: str, shape: str) -> str:
    if shape == "imperfect":
        return verb.imperfect(person)
    if shape == "subjunctive":
        return verb.subjunctive(person)
    if tense == "would":
        return verb.conditional(person)
    return verb.future(person) if tense == "future" else verb.present(person)


def as_pronoun(entity: Entity) -> Pronoun:
    """The pronoun for an entity."""
    return Pronoun(entity.person, entity.gender)


def _clitic(parts: Clause, verb: Verb, person: str) -> str:
    itself = _REFLEXIVES[person] if verb.reflexive else ""
    if parts.role != "pronoun" or parts.object is None or parts.passive or verb.literal:
        return itself
    thing = parts.object
    if verb.governs == "":
        return joined(itself, "les" if thing.person[1] == "p" else "la" if thing.gender == "f" else "le")
    if verb.governs == "à":
        to = ("leur" if thing.person[1] == "p" else "lui") if thing.human else "y"
        return joined(itself, to)
    return joined(itself, "en") if verb.governs == "de" and not thing.human else itself


def _object(parts: Clause, verb: Verb) -> str:
    if verb.literal or parts.object is None or parts.passive or parts.role == "gap":
        return verb.literal
    if parts.role == "noun":
        return parts.object.form(verb.governs)
    if verb.governs in ("", "à") or (verb.governs == "de" and not parts.object.human):
        return ""
    if parts.object.human:
        return as_pronoun(parts.object).form(verb.governs)
    favour = "en leur faveur" if parts.object.person == "3p" else "en sa faveur"
    return {"sur": "là-dessus", "contre": "contre", "pour": favour}.get(verb.governs, f"{verb.governs} cela")


def _negated(parts: Clause, clitic: str, finite: str) -> str:
    if not parts.negation:
        return joined(clitic, finite)
    return joined("ne", clitic, finite, _NEGATIONS[parts.negation])


def _inverted(parts: Clause, clitic: str, finite: str, subject: Entity) -> tuple[str, str]:
    """ "la Commission", "n'a-t-elle pas"."""
    pronoun = subject if isinstance(subject, Pronoun) else as_pronoun(subject)
    spoken = pronoun.form("")
    link = "-t-" if finite[-1] in "aeécà" and starts_with_vowel(spoken) else "-"
    asked = f"{finite}{link}{spoken}"
    named = "" if isinstance(subject, Pronoun) else subject.form("")
    return named, _negated(parts, clitic, asked)


def _relative(parts: Clause, verb: Verb) -> str:
    assert parts.object is not None
    return parts.object.form("rel.subject" if parts.passive else f"rel.{verb.governs}")

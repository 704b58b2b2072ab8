"""Italian clauses: silent subjects, clitics before and after the verb, agreement, the subjunctive."""

from typing import cast

from skipwise.corpus.forms import Clause, Entity, joined
from skipwise.corpus.italian.nouns import Pronoun, agreed
from skipwise.corpus.italian.verbs import AUXILIARIES, SUBJUNCTIVE_AUXILIARIES, Verb

_REFLEXIVES = {"1s": "mi", "1p": "ci", "3s": "si", "3p": "si"}
_NEGATIONS = {"": "", "not": "", "never": "mai", "not yet": "ancora", "no longer": "più"}
_HELPERS = {
    "past": "avere",
    "perfect": "avere",
    "pluperfect": "aveva",
    "must": "dovere",
    "can": "potere",
    "should": "dovrebbe",
    "passive-past": "essere",
    "passive-future": "sarà",
    "passive-must": "dovere",
}

_THINGS = {"ms": "esso", "fs": "essa", "mp": "essi", "fp": "esse"}
_REFLEXIVE_HELPERS = {"past": "essere", "perfect": "essere", "pluperfect": "era"}


def clause(parts: Clause, shape: str) -> str:
    """The clause as `shape`: main, subjunctive, imperfect (subjunctive, after se), infinitive; relative (to its
    object), who (to its subject), which (asking for its object).
    """
    verb = cast(Verb, parts.verb)
    if shape == "infinitive":
        no = joined("non", _NEGATIONS[parts.negation]) if parts.negation else ""
        head = _with_enclitic(verb.infinitive, _clitic(parts, verb, "3s"))
        return joined(no, head, verb.tail, parts.manner, _object(parts, verb), parts.late_time)
    subject = parts.object if parts.passive else parts.subject
    assert subject is not None
    finite, rest = _verbs(parts, verb, subject, shape)
    hidden = parts.passive and parts.role != "noun"
    named = "" if hidden else subject.form("")
    clitic = "" if parts.has_modal else _clitic(parts, verb, subject.person)
    core = joined("non" if parts.negation else "", clitic, finite, _NEGATIONS[parts.negation])
    head = _head(parts, verb, shape)
    if shape == "who":
        named = "che"
    return joined(head, named, core, rest, verb.tail, parts.manner, _object(parts, verb), parts.late_time)


def _head(parts: Clause, verb: Verb, shape: str) -> str:
    """What opens a relative clause or a question for the object."""
    if shape == "which":
        assert parts.object is not None
        return parts.object.form(verb.governs)
    if shape != "relative" and not (parts.passive and parts.role == "gap"):
        return ""
    assert parts.object is not None
    return parts.object.form("rel.subject" if parts.passive else f"rel.{verb.governs}")


def _verbs(parts: Clause, verb: Verb, subject: Entity, shape: str) -> tuple[str, str]:
    """The finite verb, and the participle or infinitive with what clings to it."""
    tense, person = parts.tense, subject.person
    if tense in ("present", "future", "would"):
        return _simple(tense, verb, person, shape), ""
    tables = SUBJUNCTIVE_AUXILIARIES if shape == "subjunctive" else AUXILIARIES
    helper = _REFLEXIVE_HELPERS.get(tense, _HELPERS[tense]) if verb.reflexive else _HELPERS[tense]
    finite = tables[helper][person]
    if parts.passive:
        state = {"passive-past": agreed("stato", subject.agr), "passive-future": "", "passive-must": "essere"}[tense]
        return finite, joined(state, agreed(verb.participle, subject.agr))
    if parts.has_modal:
        return finite, _with_enclitic(verb.infinitive, _clitic(parts, verb, person))
    agreement = subject.agr if verb.reflexive else "ms"
    if not verb.reflexive and parts.role == "pronoun" and verb.governs == "" and parts.object is not None:
        agreement = parts.object.agr
    # "ha già adottato", but "ha adottato rapidamente"
    return finite, joined(parts.time if tense == "perfect" else "", agreed(verb.participle, agreement))


def _simple(tense: str, verb: Verb, person: str, shape: str) -> str:
    if shape == "imperfect":
        return verb.imperfect_subjunctive(person)
    # "credo che adotterà": the future has no subjunctive
    if shape == "subjunctive" and tense != "future":
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
        return {"ms": "lo", "fs": "la", "mp": "li", "fp": "le"}[thing.agr]
    if itself:
        # "si è opposta a essa" is said with the pronoun after the verb
        return itself
    if verb.governs == "a":
        return ("gli" if thing.agr != "fs" else "le") if thing.human else "vi"
    return "ne" if verb.governs == "di" and not thing.human else ""


def _object(parts: Clause, verb: Verb) -> str:
    if verb.literal or parts.object is None or parts.passive or parts.role == "gap":
        return verb.literal
    if parts.role == "noun":
        return parts.object.form(verb.governs)
    if verb.governs == "" or _clitic(parts, verb, "3s") not in ("", "si"):
        return ""
    if parts.object.human:
        return as_pronoun(parts.object).form(verb.governs)
    if verb.infinitive == "votare" and verb.governs == "per":
        return "a loro favore" if parts.object.person == "3p" else "a suo favore"
    link = " di" if verb.governs in ("su", "contro") else ""
    return f"{verb.governs}{link} {_THINGS[parts.object.agr]}"


def _with_enclitic(infinitive: str, clitic: str) -> str:
    """ "adottarlo", "opporsi", "proporla"."""
    if not clitic:
        return infinitive
    return infinitive.removesuffix("re" if infinitive.endswith("rre") else "e") + clitic

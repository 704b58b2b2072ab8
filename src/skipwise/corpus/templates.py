"""The sentence patterns: the same meaning in four languages.

Slots are `name:kind`; the kinds are listed in `slots.py`. In a pattern `{d:acc}` asks slot d for its accusative,
`{g:#hat|haben}` chooses by the number of g, `{v:pp.{d.agr}}` agrees with d. Sentences start in lower case; the mark at
the end is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Template:
    """One sentence pattern in all languages."""

    name: str
    slots: str
    eng: str
    deu: str
    fra: str
    ita: str
    weight: float = 1.0
    """How often it is drawn, against the other templates."""

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Slot name -> kind, in the order in which they are drawn."""
        return MappingProxyType(dict(slot.split(":") for slot in self.slots.split()))

    def pattern(self, language: str) -> str:
        """The pattern of an ISO 639-3 language."""
        return {"eng": self.eng, "deu": self.deu, "fra": self.fra, "ita": self.ita}[language]


_TEMPLATES = (
    Template(
        name="future",
        weight=2,
        slots="g:subject v:verb d:document t:topic w:future",
        eng="{g} will {v:inf} {d} on {t} {w}",
        deu="{g:nom} {g:#wird|werden} {w} {d:acc} über {t:acc} {v:inf}",
        fra="{g:def} {v:fut.{g.num}} {d:def} sur {t:def} {w}",
        ita="{g:def} {v:fut.{g.num}} {d:def} {t:su} {w}",
    ),
    Template(
        name="past",
        weight=2,
        slots="g:subject v:verb d:document t:topic w:past",
        eng="{g} {v:past} {d} on {t} {w}",
        deu="{g:nom} {g:#hat|haben} {w} {d:acc} über {t:acc} {v:pp}",
        fra="{g:def} {g:#a|ont} {v:pp.ms} {d:def} sur {t:def} {w}",
        ita="{g:def} {g:#ha|hanno} {v:pp.ms} {d:def} {t:su} {w}",
    ),
    Template(
        name="passive",
        weight=2,
        slots="d:document t:topic v:verb w:past",
        eng="{d} on {t} was {v:pp} {w}",
        deu="{d:nom} über {t:acc} wurde {w} {v:pp}",
        fra="{d:def} sur {t:def} a été {v:pp.{d.agr}} {w}",
        ita="{d:def} {t:su} è {stato:{d.agr}} {v:pp.{d.agr}} {w}",
    ),
    Template(
        name="unanimous",
        slots="d:document p:person t:topic v:verdict",
        eng="{d} by {p} on {t} was unanimously {v:pp}",
        deu="{d:nom} von {p:dat} über {t:acc} wurde einstimmig {v:pp}",
        fra="{d:def} de {p:def} sur {t:def} a été {v:pp.{d.agr}} à l'unanimité",
        ita="{d:def} {p:di} {t:su} è {stato:{d.agr}} {v:pp.{d.agr}} all'unanimità",
    ),
    Template(
        name="must",
        weight=2,
        slots="g:subject b:modal_adverb v:verb d:document a:document_adjective",
        eng="{g} must {b} {v:inf} {d:{a}}",
        deu="{g:nom} {g:#muss|müssen} {d:acc+{a.stem}} {b} {v:inf}",
        fra="{g:def} {g:#doit|doivent} {b} {v:inf} {d:def} {a:{d.agr}}",
        ita="{g:def} {g:#deve|devono} {b} {v:inf} {d:def} {a:{d.agr}}",
    ),
    Template(
        name="count",
        slots="n:number m:number d:document t:topic",
        eng="{n} members voted for {d} on {t} and {m} against",
        deu="{n} Abgeordnete haben für {d:acc} über {t:acc} gestimmt und {m} dagegen",
        fra="{n} députés ont voté pour {d:def} sur {t:def} et {m} contre",
        ita="{n} deputati hanno votato a favore {d:di} {t:su} e {m} contro",
    ),
    Template(
        name="event",
        weight=1.5,
        slots="e:event t:topic x:phase w:day h:clock",
        eng="{e} on {t} {x} {w} {h}",
        deu="{e:nom} über {t:acc} {x:0} {w} {h} {x:1}",
        fra="{e:def} sur {t:def} {x} {w} {h}",
        ita="{e:def} {t:su} {x} {w} {h}",
    ),
    Template(
        name="floor",
        slots="p:person n:few t:topic",
        eng="I give the floor to {p} for {n} minutes to speak about {t}",
        deu="ich erteile {p:dat} für {n} Minuten das Wort, um über {t:acc} zu sprechen",
        fra="je donne la parole à {p:def} pour {n} minutes pour parler {t:de}",
        ita="do la parola {p:a} per {n} minuti per parlare {t:di}",
    ),
    Template(
        name="need",
        slots="n:amount t:topic c:country",
        eng="we need {n} million euros for {t} in {c}",
        deu="wir brauchen {n} Millionen Euro für {t:acc} in {c:dat}",
        fra="nous avons besoin de {n} millions d'euros pour {t:def} {c:in}",
        ita="abbiamo bisogno di {n} milioni di euro per {t:def} {c:in}",
    ),
    Template(
        name="article",
        slots="n:number d:document t:topic a:document_adjective",
        eng="article {n} of {d:{a}} concerns {t}",
        deu="Artikel {n} {d:gen+{a.stem}} betrifft {t:acc}",
        fra="l'article {n} {d:de} {a:{d.agr}} concerne {t:def}",
        ita="l'articolo {n} {d:di} {a:{d.agr}} riguarda {t:def}",
    ),
    Template(
        name="agree",
        slots="g:subject t:topic a:topic_adjective",
        eng="I agree with {g}, but {t} {t:#remains|remain} {a}",
        deu="ich stimme {g:dat} zu, aber {t:nom} {t:#bleibt|bleiben} {a}",
        fra="je suis d'accord avec {g:def}, mais {t:def} {t:#reste|restent} {a:{t.agr}}",
        ita="sono d'accordo con {g:def}, ma {t:def} {t:#resta|restano} {a:{t.agr}}",
    ),
    Template(
        name="thank",
        slots="g:subject d:document a:document_adjective t:topic",
        eng="I would like to thank {g} for {d:{a}} on {t}",
        deu="ich möchte {g:dat} für {d:acc+{a.stem}} über {t:acc} danken",
        fra="je voudrais remercier {g:def} pour {d:def} {a:{d.agr}} sur {t:def}",
        ita="vorrei ringraziare {g:def} per {d:def} {a:{d.agr}} {t:su}",
    ),
    Template(
        name="when",
        slots="g:subject v:verb d:document t:topic",
        eng="when will {g} {v:inf} {d} on {t}?",
        deu="wann {g:#wird|werden} {g:nom} {d:acc} über {t:acc} {v:inf}?",
        fra="quand {g:def} {v:fut.{g.num}}-{g.tpron} {d:def} sur {t:def}?",
        ita="quando {g:def} {v:fut.{g.num}} {d:def} {t:su}?",
    ),
    Template(
        name="why",
        slots="g:subject v:verb d:document t:topic",
        eng="why {g:#has|have} {g} not {v:pp} {d} on {t}?",
        deu="warum {g:#hat|haben} {g:nom} {d:acc} über {t:acc} nicht {v:pp}?",
        fra="pourquoi {g:def} n'{g:#a|ont}-{g.tpron} pas {v:pp.ms} {d:def} sur {t:def}?",
        ita="perché {g:def} non {g:#ha|hanno} {v:pp.ms} {d:def} {t:su}?",
    ),
    Template(
        name="opinion",
        weight=2,
        slots="o:attitude t:topic c:country a:topic_adjective",
        eng="{o} that {t} {t:#is|are} {a} for {c}",
        deu="{o}, dass {t:nom} für {c:acc} {a} {t:#ist|sind}",
        fra="{o} que {t:def} {t:be.{o.mood}} {a:{t.agr}} pour {c:def}",
        ita="{o} che {t:def} {t:be.{o.mood}} {a:{t.agr}} per {c:def}",
    ),
    Template(
        name="because",
        slots="g:subject v:stance d:document t:topic a:fault",
        eng="{g} {v:pres.{g.num}} {d} because {t} {t:#is|are} too {a}",
        deu="{g:nom} {v:fin.{g.num}} {d:acc} {v:pre}, weil {t:nom} zu {a} {t:#ist|sind}",
        fra="{g:def} {v:pres.{g.num}} {d:def} parce que {t:def} {t:#est|sont} trop {a:{t.agr}}",
        ita="{g:def} {v:pres.{g.num}} {d:def} perché {t:def} {t:#è|sono} troppo {a:{t.agr}}",
    ),
    Template(
        name="if",
        slots="g:subject v:stance d:document n:amount",
        eng="if {g} {g:#does|do} not {v:inf} {d}, we will lose {n} million euros",
        deu="wenn {g:nom} {d:acc} nicht {v:sub.{g.num}}, verlieren wir {n} Millionen Euro",
        fra="si {g:def} {v:not.{g.num}} {d:def}, nous perdrons {n} millions d'euros",
        ita="se {g:def} non {v:pres.{g.num}} {d:def}, perderemo {n} milioni di euro",
    ),
    Template(
        name="percent",
        slots="c:country n:number k:people t:topic",
        eng="in {c} {n} percent of {k} support {t}",
        deu="in {c:dat} unterstützen {n} Prozent der {k:bare} {t:acc}",
        fra="{c:in}, {n} pour cent {k:de} soutiennent {t:def}",
        ita="{c:in} {n.il}{n} per cento {k:di} sostiene {t:def}",
    ),
    Template(
        name="trend",
        slots="k:people c:country x:trend n:number y:year",
        eng="the number of {k} in {c} {x} by {n} percent in {y}",
        deu="die Zahl der {k:bare} in {c:dat} ist im Jahr {y} um {n} Prozent {x}",
        fra="le nombre {k:of} {c:in} a {x} de {n} pour cent en {y}",
        ita="il numero {k:di} {c:in} è {x} {n.dell}{n} per cento nel {y}",
    ),
    Template(
        name="next",
        slots="d:the_document p:person t:topic",
        eng="the next item is {d} by {p} on {t}",
        deu="der nächste Punkt ist {d:nom} von {p:dat} über {t:acc}",
        fra="le point suivant est {d:def} de {p:def} sur {t:def}",
        ita="il prossimo punto è {d:def} {p:di} {t:su}",
    ),
    Template(
        name="rights",
        weight=1.5,
        slots="r:protection s:asset k:people c:country",
        eng="we must {r} the {s} of {k} in {c}",
        deu="wir müssen {s:acc} der {k:bare} in {c:dat} {r}",
        fra="nous devons {r} {s:def} {k:de} {c:in}",
        ita="dobbiamo {r} {s:def} {k:di} {c:in}",
    ),
    Template(
        name="both",
        slots="q:pair a:topic_adjective c:country",
        eng="{q.one} and {q.two} are {a} for {c}",
        deu="{q.one:nom} und {q.two:nom} sind für {c:acc} {a}",
        fra="{q.one:def} et {q.two:def} sont {a:{q.agr}} pour {c:def}",
        ita="{q.one:def} e {q.two:def} sono {a:{q.agr}} per {c:def}",
    ),
    Template(
        name="compare",
        slots="q:pair a:compared c:country",
        eng="in {c} {q.one} {q.one:#is|are} {a:more} than {q.two}",
        deu="in {c:dat} {q.one:#ist|sind} {q.one:nom} {a:more} als {q.two:nom}",
        fra="{c:in}, {q.one:def} {q.one:#est|sont} {a:more.{q.one.agr}} que {q.two:def}",
        ita="{c:in} {q.one:def} {q.one:#è|sono} {a:more.{q.one.agr}} {q.two:di}",
    ),
    Template(
        name="asked",
        weight=1.5,
        slots="g:group_pair v:verb d:document t:topic",
        eng="{g.one} {g.one:#has|have} asked {g.two} to {v:inf} {d} on {t}",
        deu="{g.one:nom} {g.one:#hat|haben} {g.two:acc} gebeten, {d:acc} über {t:acc} {v:zu}",
        fra="{g.one:def} {g.one:#a|ont} demandé {g.two:a} {v:de} {d:def} sur {t:def}",
        ita="{g.one:def} {g.one:#ha|hanno} chiesto {g.two:a} di {v:inf} {d:def} {t:su}",
    ),
    Template(
        name="relative",
        weight=2,
        slots="d:document g:subject v:verb w:past a:document_adjective",
        eng="{d} that {g} {v:past} {w} is {a}",
        deu="{d:nom}, {d.rel} {g:nom} {w} {v:pp} {g:#hat|haben}, ist {a}",
        fra="{d:def} que {g:def} {g:#a|ont} {v:pp.{d.agr}} {w} est {a:{d.agr}}",
        ita="{d:def} che {g:def} {g:#ha|hanno} {v:pp.ms} {w} è {a:{d.agr}}",
    ),
    Template(
        name="movement",
        slots="p:person x:movement l:city w:past",
        eng="{p} {x} {l:{x.way}} {w}",
        deu="{p:nom} ist {w} {l:{x.way}} {x}",
        fra="{p:def} est {x:{p.agr}} {l:{x.way}} {w}",
        ita="{p:def} è {x:{p.agr}} {l:{x.way}} {w}",
    ),
    Template(
        name="welcome",
        slots="c:country w:future t:topic",
        eng="I welcome the delegation from {c}, which will speak about {t} {w}",
        deu="ich begrüße die Delegation aus {c:dat}, die {w} über {t:acc} sprechen wird",
        fra="je salue la délégation venue {c:from}, qui parlera {t:de} {w}",
        ita="saluto la delegazione venuta {c:da}, che parlerà {t:di} {w}",
    ),
    Template(
        name="amendments",
        slots="n:many m:few d:document v:verdict",
        eng="we voted on {n} amendments to {d}, but only {m} were {v:pp}",
        deu="wir haben über {n} Änderungsanträge {d:zu} abgestimmt, aber nur {m} wurden {v:pp}",
        fra="nous avons voté sur {n} amendements {d:a}, mais seulement {m} ont été {v:pp.mp}",
        ita="abbiamo votato {n} emendamenti {d:a}, ma solo {m} sono stati {v:pp.mp}",
    ),
    Template(
        name="suspended",
        slots="w:past h:early_clock i:late_clock",
        eng="the sitting was suspended {w} {h} and resumed {i}",
        deu="die Sitzung wurde {w} {h} unterbrochen und {i} wieder aufgenommen",
        fra="la séance a été suspendue {w} {h} et reprise {i}",
        ita="la seduta è stata sospesa {w} {h} e ripresa {i}",
    ),
    Template(
        name="since",
        slots="y:year c:country t:topic",
        eng="since {y} {c} {c:#has|have} been working on {t}",
        deu="seit {y} {c:#arbeitet|arbeiten} {c:nom} {t:an}",
        fra="depuis {y}, {c:def} {c:#travaille|travaillent} sur {t:def}",
        ita="dal {y} {c:def} {c:#lavora|lavorano} {t:su}",
    ),
    Template(
        name="spend",
        slots="g:subject x:amount_word t:topic c:country",
        eng="{g} should spend {x} money on {t} in {c}",
        deu="{g:nom} {g:#sollte|sollten} in {c:dat} {x} Geld für {t:acc} ausgeben",
        fra="{g:def} {g:#devrait|devraient} dépenser {x} d'argent pour {t:def} {c:in}",
        ita="{g:def} {g:#dovrebbe|dovrebbero} spendere {x} denaro per {t:def} {c:in}",
    ),
    Template(
        name="behalf",
        slots="g:group v:my_stance d:document t:topic",
        eng="on behalf of {g} I {v:inf} {d} on {t}",
        deu="im Namen {g:gen} {v:ich} ich {d:acc} über {t:acc} {v:pre}",
        fra="au nom {g:de}, {v:je} {d:def} sur {t:def}",
        ita="a nome {g:di} {v:io} {d:def} {t:su}",
    ),
    Template(
        name="not_yet",
        weight=1.5,
        slots="b:sentence_adverb g:subject v:verb d:document t:topic",
        eng="{b} {g} {g:#has|have} not yet {v:pp} {d} on {t}",
        deu="{b} {g:#hat|haben} {g:nom} {d:acc} über {t:acc} noch nicht {v:pp}",
        fra="{b}, {g:def} n'{g:#a|ont} pas encore {v:pp.ms} {d:def} sur {t:def}",
        ita="{b} {g:def} non {g:#ha|hanno} ancora {v:pp.ms} {d:def} {t:su}",
    ),
    Template(
        name="task",
        slots="a:task_adjective v:verb d:document t:topic b:task_adverb",
        eng="it is {a} to {v:inf} {d} on {t} {b}",
        deu="es ist {a}, {d:acc} über {t:acc} {b} {v:zu}",
        fra="il est {a:ms} {v:de} {b} {d:def} sur {t:def}",
        ita="è {a:ms} {v:inf} {b} {d:def} {t:su}",
    ),
    Template(
        name="according",
        slots="g:group k:people c:country t:topic a:topic_adjective",
        eng="according to {g}, {t} {t:#is|are} {a} for {k} in {c}",
        deu="laut {g:dat} {t:#ist|sind} {t:nom} für die {k:bare} in {c:dat} {a}",
        fra="selon {g:def}, {t:def} {t:#est|sont} {a:{t.agr}} pour {k:def} {c:in}",
        ita="secondo {g:def} {t:def} {t:#è|sono} {a:{t.agr}} per {k:def} {c:in}",
    ),
)

TEMPLATES: Mapping[str, Template] = MappingProxyType({template.name: template for template in _TEMPLATES})

"""French verbs: the three conjugations by their endings, and what they govern."""

from collections.abc import Mapping

from skipwise.corpus.forms import longest_suffix

# Ending of the infinitive: participle, present (third persons singular and plural), future.
_ENDINGS: Mapping[str, str] = {
    "ir": "i it issent ira",
    "tenir": "tenu tient tiennent tiendra",
    "venir": "venu vient viennent viendra",
    "courir": "couru court courent courra",
    "frir": "fert fre frent frira",
    "vrir": "vert vre vrent vrira",
    "sentir": "senti sent sentent sentira",
    "partir": "parti part partent partira",
    "servir": "servi sert servent servira",
    "sortir": "sorti sort sortent sortira",
    "quérir": "quis quiert quièrent querra",
    "cueillir": "cueilli cueille cueillent cueillera",
    "prendre": "pris prend prennent prendra",
    "endre": "endu end endent endra",
    "andre": "andu and andent andra",
    "ondre": "ondu ond ondent ondra",
    "erdre": "erdu erd erdent erdra",
    "mettre": "mis met mettent mettra",
    "battre": "battu bat battent battra",
    "uire": "uit uit uisent uira",
    "crire": "crit crit crivent crira",
    "lire": "lu lit lisent lira",
    "dire": "dit dit disent dira",
    "rire": "ri rit rient rira",
    "voir": "vu voit voient verra",
    "prévoir": "prévu prévoit prévoient prévoira",
    "mouvoir": "mu meut meuvent mouvra",
    "pourvoir": "pourvu pourvoit pourvoient pourvoira",
    "cevoir": "çu çoit çoivent cevra",
    "indre": "int int ignent indra",
    "vivre": "vécu vit vivent vivra",
    "suivre": "suivi suit suivent suivra",
    "clure": "clu clut cluent clura",
    "faire": "fait fait font fera",
    "plaire": "plu plaît plaisent plaira",
    "traire": "trait trait traient traira",
    "vaincre": "vaincu vainc vainquent vaincra",
    "rompre": "rompu rompt rompent rompra",
    "naître": "nu naît naissent naîtra",
    "oudre": "olu out olvent oudra",
    "croire": "cru croit croient croira",
    "savoir": "su sait savent saura",
    "être": "été est sont sera",
    "avoir": "eu a ont aura",
}
_DOUBLING = ("jeter", "appeler", "rappeler", "renouveler", "morceler", "feuilleter", "étiqueter")
_SUBJUNCTIVES: Mapping[str, tuple[str, str]] = {
    "faire": ("fasse", "fassent"),
}

AUXILIARIES: Mapping[str, Mapping[str, str]] = {
    "avoir": {"1s": "ai", "1p": "avons", "3s": "a", "3p": "ont"},
    "être": {"1s": "suis", "1p": "sommes", "3s": "est", "3p": "sont"},
    "avait": {"1s": "avais", "1p": "avions", "3s": "avait", "3p": "avaient"},
    "était": {"1s": "étais", "1p": "étions", "3s": "était", "3p": "étaient"},
    "sera": {"1s": "serai", "1p": "serons", "3s": "sera", "3p": "seront"},
    "devoir": {"1s": "dois", "1p": "devons", "3s": "doit", "3p": "doivent"},
    "pouvoir": {"1s": "peux", "1p": "pouvons", "3s": "peut", "3p": "peuvent"},
    "devrait": {"1s": "devrais", "1p": "devrions", "3s": "devrait", "3p": "devraient"},
}
SUBJUNCTIVE_AUXILIARIES: Mapping[str, Mapping[str, str]] = {
    "avoir": {"1s": "aie", "1p": "ayons", "3s": "ait", "3p": "aient"},
    "être": {"1s": "sois", "1p": "soyons", "3s": "soit", "3p": "soient"},
    "sera": {"1s": "sois", "1p": "soyons", "3s": "soit", "3p": "soient"},
    "devoir": {"1s": "doive", "1p": "devions", "3s": "doive", "3p": "doivent"},
    "pouvoir": {"1s": "puisse", "1p": "puissions", "3s": "puisse", "3p": "puissent"},
    "devrait": {"1s": "doive", "1p": "devions", "3s": "doive", "3p": "doivent"},
}


class Verb:
    """A lexicon cell: "adopter", "voter:pour", "s~opposer:à", "poser>une question".

    After ":" stands the preposition of the object (none: direct); after ">": an object that belongs to the verb.
    """

    def __init__(self, cell: str):
        cell, _, self.literal = cell.partition(">")
        cell, _, self.governs = cell.partition(":")
        self.reflexive = cell.startswith("s~")
        head, *rest = cell.removeprefix("s~").split(" ")
        self.infinitive, self.tail = head, " ".join(rest)
        self.participle, self.singular, self.plural, self.future_stem = self._stems()

    def _stems(self) -> tuple[str, str, str, str]:
        word = self.infinitive
        if word.endswith("er"):
            return self._first_conjugation(word[:-2])
        ending = longest_suffix(word, _ENDINGS)
        assert ending is not None, word
        start = word.removesuffix(ending)
        participle, singular, plural, future = (start + form for form in _ENDINGS[ending].split())
        return participle, singular, plural, future[:-1]

    def _first_conjugation(self, stem: str) -> tuple[str, str, str, str]:
        strong, future = stem, f"{stem}er"
        if self.infinitive.endswith(_DOUBLING):
            strong = stem + stem[-1]
            future = f"{strong}er"
        elif stem.endswith(("oy", "uy")):
            strong = f"{stem[:-1]}i"
            future = f"{stem[:-2]}err" if self.infinitive.endswith("envoyer") else f"{strong}er"
        elif len(stem) > 2 and stem[-2] == "e" and stem[-1] in "lmnpvtrcs" and stem[-3] not in "eéi":
            strong = f"{stem[:-2]}è{stem[-1]}"
            future = f"{strong}er"
        elif (bare := stem.rstrip("bcdfglmnpqrstvu"))[-1:] == "é" and 0 < len(stem) - len(bare) <= 2:
            strong = f"{bare[:-1]}è{stem[len(bare) :]}"
        return f"{stem}é", f"{strong}e", f"{strong}ent", future

    @property
    def imperfect_stem(self) -> str:
        """What the imperfect and the first person plural are made from: "adopt", "soutenn" -> "souten"."""
        word = self.infinitive
        if word.endswith("er"):
            stem = word[:-2]
            return f"{stem}e" if stem.endswith("g") else f"{stem[:-1]}ç" if stem.endswith("c") else stem
        for ending, stem in (
            ("tenir", "ten"),
            ("venir", "ven"),
            ("prendre", "pren"),
            ("faire", "fais"),
            ("mouvoir", "mouv"),
        ):
            if word.endswith(ending):
                return word.removesuffix(ending) + stem
        if word.endswith("cevoir"):
            return word[:-3]
        if word.endswith("voir") and word not in ("savoir", "avoir"):
            return f"{word[:-2]}y"
        return self.plural.removesuffix("ent")

    def present(self, person: str) -> str:
        """The present indicative."""
        if person == "1p":
            stem = self.imperfect_stem
            return f"{stem}ons"
        if person == "1s":
            return self._first_singular()
        return self.singular if person == "3s" else self.plural

    def _first_singular(self) -> str:
        if self.singular.endswith("e"):
            return self.singular
        if self.singular.endswith("t") and not self.infinitive.endswith("ttre"):
            return f"{self.singular[:-1].replace('aî', 'ai')}s"
        return f"{self.singular}s"

    def subjunctive(self, person: str) -> str:
        """The present subjunctive."""
        for ending, (singular, plural) in _SUBJUNCTIVES.items():
            if self.infinitive.endswith(ending):
                return self.infinitive.removesuffix(ending) + (plural if person == "3p" else singular)
        if person == "1p":
            stem = self.imperfect_stem
            return f"{stem[:-1] + 'c' if stem.endswith('ç') else stem.removesuffix('e')}ions"
        return self.plural if person == "3p" else self.plural[:-2]

    def imperfect(self, person: str) -> str:
        """The imperfect, as after a hypothetical "si"."""
        stem = self.imperfect_stem
        if person == "1p":
            return f"{stem[:-1] + 'c' if stem.endswith('ç') else stem.removesuffix('e')}ions"
        return stem + {"1s": "ais", "3s": "ait", "3p": "aient"}[person]

    def future(self, person: str) -> str:
        """The future."""
        return self.future_stem + {"1s": "ai", "1p": "ons", "3s": "a", "3p": "ont"}[person]

    def conditional(self, person: str) -> str:
        """The conditional."""
        return self.future_stem + {"1s": "ais", "1p": "ions", "3s": "ait", "3p": "aient"}[person]

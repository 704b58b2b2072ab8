"""Italian verbs: the three conjugations by their endings, and what they govern."""

from collections.abc import Mapping

from skipwise.corpus.forms import longest_suffix

# Ending of the infinitive ("_" is the start of the word): participle, present (third persons), future.
_ENDINGS: Mapping[str, str] = {
    "ire": "ito isce iscono irà",
    "partire": "partito parte partono partirà",
    "sentire": "sentito sente sentono sentirà",
    "seguire": "seguito segue seguono seguirà",
    "servire": "servito serve servono servirà",
    "vertire": "vertito verte vertono vertirà",
    "aprire": "aperto apre aprono aprirà",
    "coprire": "coperto copre coprono coprirà",
    "frire": "ferto fre frono frirà",
    "venire": "venuto viene vengono verrà",
    "_dire": "detto dice dicono dirà",
    "ddire": "ddetto ddice ddicono ddirà",
    "ere": "uto e ono erà",
    "tenere": "tenuto tiene tengono terrà",
    "vedere": "visto vede vedono vedrà",
    "cedere": "cesso cede cedono cederà",
    "credere": "creduto crede credono crederà",
    "vendere": "venduto vende vendono venderà",
    "dere": "so de dono derà",
    "endere": "eso ende endono enderà",
    "iedere": "ieduto iede iedono iederà",
    "ondere": "osto onde ondono onderà",
    "fondere": "fuso fonde fondono fonderà",
    "ggere": "tto gge ggono ggerà",
    "ngere": "nto nge ngono ngerà",
    "stringere": "stretto stringe stringono stringerà",
    "olgere": "olto olge olgono olgerà",
    "orgere": "orto orge orgono orgerà",
    "ergere": "erso erge ergono ergerà",
    "rivere": "ritto rive rivono riverà",
    "solvere": "solto solve solvono solverà",
    "muovere": "mosso muove muovono muoverà",
    "vivere": "vissuto vive vivono vivrà",
    "mettere": "messo mette mettono metterà",
    "correre": "corso corre corrono correrà",
    "cogliere": "colto coglie colgono coglierà",
    "gliere": "lto glie lgono glierà",
    "scere": "sciuto sce scono scerà",
    "crescere": "cresciuto cresce crescono crescerà",
    "primere": "presso prime primono primerà",
    "sumere": "sunto sume sumono sumerà",
    "utere": "usso ute utono uterà",
    "chiedere": "chiesto chiede chiedono chiederà",
    "tinguere": "tinto tingue tinguono tinguerà",
    "rompere": "rotto rompe rompono romperà",
    "vincere": "vinto vince vincono vincerà",
    "istere": "istito iste istono isterà",
    "porre": "posto pone pongono porrà",
    "durre": "dotto duce ducono durrà",
    "trarre": "tratto trae traggono trarrà",
    "fare": "fatto fa fanno farà",
    "_dare": "dato dà danno darà",
    "redigere": "redatto redige redigono redigerà",
    "essere": "stato è sono sarà",
    "avere": "avuto ha hanno avrà",
}
_LONG: Mapping[str, str] = {
    "porre": "ponere",
    "durre": "ducere",
    "trarre": "traere",
    "fare": "facere",
    "_dire": "dicere",
    "ddire": "ddicere",
}

AUXILIARIES: Mapping[str, Mapping[str, str]] = {
    "avere": {"1s": "ho", "1p": "abbiamo", "3s": "ha", "3p": "hanno"},
    "essere": {"1s": "sono", "1p": "siamo", "3s": "è", "3p": "sono"},
    "aveva": {"1s": "avevo", "1p": "avevamo", "3s": "aveva", "3p": "avevano"},
    "era": {"1s": "ero", "1p": "eravamo", "3s": "era", "3p": "erano"},
    "sarà": {"1s": "sarò", "1p": "saremo", "3s": "sarà", "3p": "saranno"},
    "dovere": {"1s": "devo", "1p": "dobbiamo", "3s": "deve", "3p": "devono"},
    "potere": {"1s": "posso", "1p": "possiamo", "3s": "può", "3p": "possono"},
    "dovrebbe": {"1s": "dovrei", "1p": "dovremmo", "3s": "dovrebbe", "3p": "dovrebbero"},
}
SUBJUNCTIVE_AUXILIARIES: Mapping[str, Mapping[str, str]] = {
    "avere": {"1s": "abbia", "1p": "abbiamo", "3s": "abbia", "3p": "abbiano"},
    "essere": {"1s": "sia", "1p": "siamo", "3s": "sia", "3p": "siano"},
    "sarà": AUXILIARIES["sarà"],
    "dovere": {"1s": "debba", "1p": "dobbiamo", "3s": "debba", "3p": "debbano"},
    "potere": {"1s": "possa", "1p": "possiamo", "3s": "possa", "3p": "possano"},
    "dovrebbe": {"1s": "debba", "1p": "dobbiamo", "3s": "debba", "3p": "debbano"},
}


class Verb:
    """A lexicon cell: "adottare", "votare:per", "si~opporre:a", "porre>una domanda".

    After ":" stands the preposition of the object (none: direct); after ">": an object that belongs to the verb.
    """

    def __init__(self, cell: str):
        cell, _, self.literal = cell.partition(">")
        cell, _, self.governs = cell.partition(":")
        self.reflexive = cell.startswith("si~")
        head, *rest = cell.removeprefix("si~").split(" ")
        self.infinitive, self.tail = head, " ".join(rest)
        self.participle, self.singular, self.plural, self.future_stem = self._stems()

    def _stems(self) -> tuple[str, str, str, str]:
        word = self.infinitive
        if word.endswith("are") and word != "dare" and not word.endswith("fare"):
            stem = word[:-3]
            soft = f"{stem}h" if stem[-1] in "cg" else stem
            if stem.endswith(("ci", "gi")):
                soft = stem[:-1]
            return f"{stem}ato", f"{stem}a", f"{stem}ano", f"{soft}er"
        ending = longest_suffix(f"_{word}", _ENDINGS)
        assert ending is not None, word
        start = word.removesuffix(ending.removeprefix("_"))
        participle, singular, plural, future = (start + form for form in _ENDINGS[ending].split())
        return participle, singular, plural, future[:-1]

    @property
    def _long(self) -> str:
        """The infinitive from which the regular stems follow: proporre -> proponere."""
        ending = longest_suffix(f"_{self.infinitive}", _LONG)
        first = self.infinitive.endswith("are") and not self.infinitive.endswith("fare")
        if ending is None or first:
            return self.infinitive
        return self.infinitive.removesuffix(ending.removeprefix("_")) + _LONG[ending]

    @property
    def _first_soft(self) -> str:
        """The stem of a verb in -are before i: cerch-, cominc-, studi- loses its own i."""
        stem = self.infinitive[:-3]
        if stem[-1] in "cg":
            return f"{stem}h"
        # the stressed i of "rinviare" stays: "rinvii"
        return stem if stem.endswith(("nvi", "avvi")) else stem.removesuffix("i")

    @property
    def _is_first(self) -> bool:
        return self._long.endswith("are")

    def present(self, person: str) -> str:
        """The present indicative."""
        if person == "1p":
            if self._is_first:
                return f"{self._first_soft.removesuffix('i')}iamo"
            if self.infinitive.endswith("fare"):
                return f"{self.infinitive[:-3]}acciamo"
            return f"{self._long[:-3]}{'' if self._long.endswith('gliere') else 'i'}amo"
        if person == "1s":
            if self.infinitive.endswith("fare"):
                return f"{self.infinitive[:-3]}accio"
            if self._is_first:
                return f"{self.infinitive[:-3]}o"
            return self.plural[:-2]
        return self.singular if person == "3s" else self.plural

    def subjunctive(self, person: str) -> str:
        """The present subjunctive."""
        if person == "1p":
            return self.present("1p")
        last = "no" if person == "3p" else ""
        if self.infinitive.endswith("fare"):
            return f"{self.infinitive[:-3]}accia{last}"
        if self.infinitive == "dare":
            return f"dia{last}"
        return f"{self._first_soft}i{last}" if self._is_first else f"{self.plural[:-3]}a{last}"

    def imperfect_subjunctive(self, person: str) -> str:
        """The imperfect subjunctive, as after a hypothetical "se"."""
        long = self._long
        vowel = "e" if self.infinitive == "dare" else long[-3]
        return long[:-3] + vowel + {"1s": "ssi", "1p": "ssimo", "3s": "sse", "3p": "ssero"}[person]

    def future(self, person: str) -> str:
        """The future."""
        return self.future_stem + {"1s": "ò", "1p": "emo", "3s": "à", "3p": "anno"}[person]

    def conditional(self, person: str) -> str:
        """The conditional."""
        return self.future_stem + {"1s": "ei", "1p": "emmo", "3s": "ebbe", "3p": "ebbero"}[person]

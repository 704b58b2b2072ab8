"""German verbs: weak and strong, separable and not, and what they govern."""

from collections.abc import Mapping

# Strong and irregular verbs without prefix: third person singular, participle.
_STRONG: Mapping[str, str] = {
    "nehmen": "nimmt genommen",
    "geben": "gibt gegeben",
    "ziehen": "zieht gezogen",
    "schließen": "schließt geschlossen",
    "schieben": "schiebt geschoben",
    "schreiben": "schreibt geschrieben",
    "weisen": "weist gewiesen",
    "lesen": "liest gelesen",
    "sehen": "sieht gesehen",
    "halten": "hält gehalten",
    "lassen": "lässt gelassen",
    "raten": "rät geraten",
    "tragen": "trägt getragen",
    "schlagen": "schlägt geschlagen",
    "treffen": "trifft getroffen",
    "brechen": "bricht gebrochen",
    "sprechen": "spricht gesprochen",
    "helfen": "hilft geholfen",
    "werfen": "wirft geworfen",
    "stehen": "steht gestanden",
    "gehen": "geht gegangen",
    "kommen": "kommt gekommen",
    "finden": "findet gefunden",
    "binden": "bindet gebunden",
    "bieten": "bietet geboten",
    "bitten": "bittet gebeten",
    "bringen": "bringt gebracht",
    "denken": "denkt gedacht",
    "kennen": "kennt gekannt",
    "nennen": "nennt genannt",
    "senden": "sendet gesandt",
    "wenden": "wendet gewandt",
    "wissen": "weiß gewusst",
    "heben": "hebt gehoben",
    "lieren": "liert loren",
    "gessen": "gisst gessen",
    "fahren": "fährt gefahren",
    "fallen": "fällt gefallen",
    "rufen": "ruft gerufen",
    "leiden": "leidet gelitten",
    "meiden": "meidet gemieden",
    "scheiden": "scheidet geschieden",
    "streichen": "streicht gestrichen",
    "gleichen": "gleicht geglichen",
    "steigen": "steigt gestiegen",
    "treiben": "treibt getrieben",
    "bleiben": "bleibt geblieben",
    "winden": "windet gewunden",
    "dringen": "dringt gedrungen",
    "zwingen": "zwingt gezwungen",
    "ginnen": "ginnt gonnen",
    "winnen": "winnt wonnen",
    "treten": "tritt getreten",
    "setzen": "setzt gesetzt",
    "messen": "misst gemessen",
    "laden": "lädt geladen",
    "fangen": "fängt gefangen",
    "schneiden": "schneidet geschnitten",
    "greifen": "greift gegriffen",
    "bauen": "baut gebaut",
    "werben": "wirbt geworben",
    "stoßen": "stößt gestoßen",
    "lügen": "lügt gelogen",
    "gelten": "gilt gegolten",
    "haben": "hat gehabt",
    "tun": "tut getan",
    "sterben": "stirbt gestorben",
    "sinken": "sinkt gesunken",
    "fliegen": "fliegt geflogen",
    "reißen": "reißt gerissen",
    "schweigen": "schweigt geschwiegen",
    "leihen": "leiht geliehen",
}

AUXILIARIES: Mapping[str, Mapping[str, str]] = {
    "haben": {"1s": "habe", "1p": "haben", "3s": "hat", "3p": "haben"},
    "hatte": {"1s": "hatte", "1p": "hatten", "3s": "hatte", "3p": "hatten"},
    "war": {"1s": "war", "1p": "waren", "3s": "war", "3p": "waren"},
    "sein": {"1s": "bin", "1p": "sind", "3s": "ist", "3p": "sind"},
    "werden": {"1s": "werde", "1p": "werden", "3s": "wird", "3p": "werden"},
    "wurde": {"1s": "wurde", "1p": "wurden", "3s": "wurde", "3p": "wurden"},
    "dürfen": {"1s": "darf", "1p": "dürfen", "3s": "darf", "3p": "dürfen"},
    "müssen": {"1s": "muss", "1p": "müssen", "3s": "muss", "3p": "müssen"},
    "können": {"1s": "kann", "1p": "können", "3s": "kann", "3p": "können"},
    "sollen": {"1s": "sollte", "1p": "sollten", "3s": "sollte", "3p": "sollten"},
    "würde": {"1s": "würde", "1p": "würden", "3s": "würde", "3p": "würden"},
}


class Verb:
    """A lexicon cell: "vor+legen" (separable), "unter_stützen" (not), "sich~be_fassen:mit", "gehen*" (with "sein").

    After ":" stands what the verb governs: a case or a preposition (with ".case" where it is not the usual one);
    nothing: the accusative. After ">": an object that belongs to the verb ("stellen>eine Frage").
    """

    def __init__(self, cell: str):
        cell, _, self.literal = cell.partition(">")
        cell, _, governed = cell.partition(":")
        self.governs = governed or "acc"
        self.reflexive = cell.startswith("sich~")
        self.auxiliary = "sein" if cell.endswith("*") else "haben"
        cell = cell.removeprefix("sich~").removesuffix("*")
        prefix, _, rest = cell.rpartition("+")
        self.prefix, self.joined_prefix = prefix.replace("+", " "), prefix.replace("+", "")
        bound, _, base = rest.rpartition("_")
        self.main = bound + base
        self._set_stems(bound, base)

    def _set_stems(self, bound: str, base: str) -> None:
        if base in _STRONG:
            finite, participle = _STRONG[base].split()
            bare = participle.removeprefix("ge") if bound and base not in ("gessen",) else participle
            self.finite, self.participle = bound + finite, self.joined_prefix + bound + bare
            return
        stem = base.removesuffix("n").removesuffix("e") if base.endswith("en") else base.removesuffix("n")
        soft = stem.endswith(("t", "d", "chn")) or (stem[-1] in "mn" and stem[-2] not in "aeiouäöülrhmn")
        ending = "et" if soft else "t"
        prefixed = "" if bound or base.endswith("ieren") else "ge"
        self.finite = bound + stem + ending
        self.participle = self.joined_prefix + bound + prefixed + stem + ending

    @property
    def infinitive(self) -> str:
        """ "vorlegen"."""
        return self.joined_prefix + self.main

    @property
    def zu(self) -> str:
        """ "vorzulegen", "zu prüfen"."""
        return f"{self.joined_prefix}zu{self.main}" if self.prefix else f"zu {self.main}"

    def present(self, person: str) -> str:
        """The finite part, without its separable prefix."""
        if person == "3s":
            return self.finite
        if person == "1s":
            if self.main.endswith("eln"):
                return f"{self.main[:-3]}le"
            return self.main[:-1] if self.main.endswith("en") else f"{self.main[:-1]}e"
        return self.main

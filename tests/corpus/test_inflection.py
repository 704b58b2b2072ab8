"""Articles, cases, contractions, agreement, conjugation: what a learner of the language gets wrong first."""

import pytest

from skipwise.corpus.english import nouns as english
from skipwise.corpus.english.verbs import Verb as EnglishVerb
from skipwise.corpus.french import nouns as french
from skipwise.corpus.french.verbs import Verb as FrenchVerb
from skipwise.corpus.german import nouns as german
from skipwise.corpus.german.verbs import Verb as GermanVerb
from skipwise.corpus.italian import nouns as italian
from skipwise.corpus.italian.verbs import Verb as ItalianVerb
from skipwise.corpus.lexicon import NOUN_CLASSES, table


def _phrase(module, cell, **options):
    return module.NounPhrase(module.Noun(cell), **options)


@pytest.mark.parametrize(
    ("cell", "options", "spec", "expected"),
    [
        ("m Bericht Berichte", {}, "acc", "den Bericht"),
        ("m Bericht Berichte", {}, "gen", "des Berichts"),
        ("m Bericht Berichte", {"plural": True}, "dat", "den Berichten"),
        ("m Bericht Berichte", {"adjective": "wichtig"}, "nom", "der wichtige Bericht"),
        ("m Bericht Berichte", {"adjective": "wichtig", "determiner": "a"}, "nom", "ein wichtiger Bericht"),
        ("m Bericht Berichte", {"adjective": "wichtig", "determiner": "a"}, "dat", "einem wichtigen Bericht"),
        ("n Gesetz Gesetze", {"adjective": "neu", "determiner": "a"}, "acc", "ein neues Gesetz"),
        ("n Gesetz Gesetze", {}, "gen", "des Gesetzes"),
        ("f Studie Studien", {"adjective": "neu", "determiner": "his"}, "dat", "seiner neuen Studie"),
        ("n Gesetz Gesetze", {"plural": True, "adjective": "neu", "determiner": "many"}, "gen", "vieler neuer Gesetze"),
        ("n Gesetz Gesetze", {"plural": True, "adjective": "neu", "determiner": "zwei"}, "nom", "zwei neue Gesetze"),
        ("n Gesetz Gesetze", {"plural": True, "adjective": "neu", "determiner": "all"}, "acc", "alle neuen Gesetze"),
        ("n Gesetz Gesetze", {"plural": True, "determiner": "a"}, "acc", "Gesetze"),
        ("f +öffentlich Gesundheit", {}, "dat", "der öffentlichen Gesundheit"),
        ("mw Experte Experten", {}, "acc", "den Experten"),
        ("mw Experte Experten", {}, "gen", "des Experten"),
        ("ma Abgeordnet", {}, "nom", "der Abgeordnete"),
        ("ma Abgeordnet", {"determiner": "a"}, "nom", "ein Abgeordneter"),
        ("ma Abgeordnet", {"plural": True, "determiner": "many"}, "nom", "viele Abgeordnete"),
        ("ma Abgeordnet", {"plural": True}, "nom", "die Abgeordneten"),
        ("m Mechanismus/Mechanismus Mechanismen", {}, "gen", "des Mechanismus"),
        ("n Gefängnis Gefängnisse", {}, "gen", "des Gefängnisses"),
        ("n Haus Häuser", {}, "gen", "des Hauses"),
        ("m Terrorismus", {}, "gen", "des Terrorismus"),
        ("n Antibiotikum Antibiotika", {"plural": True}, "dat", "den Antibiotika"),
        ("m Absatz Absätze", {}, "an.dat", "am Absatz"),
        ("f Studie Studien", {}, "zu", "zur Studie"),
        ("m Absatz Absätze", {"determiner": "this"}, "zu", "zu diesem Absatz"),
        ("- Frankreich", {}, "über", "über Frankreich"),
        ("p Niederlande", {}, "in", "in den Niederlanden"),
        ("m Bericht Berichte", {}, "rel.für", "für den"),
        ("m Bericht Berichte", {"plural": True}, "rel.dat", "denen"),
        ("f Studie Studien", {}, "super.wichtigst", "die wichtigste Studie"),
        ("n Gesetz Gesetze", {"determiner": "only"}, "nom", "das einzige Gesetz"),
        ("m Bericht Berichte", {"determiner": "which"}, "acc", "welchen Bericht"),
    ],
)
def test_german_noun_phrases(cell, options, spec, expected):
    assert f"{_phrase(german, cell, **options):{spec}}" == expected


@pytest.mark.parametrize(
    ("cell", "finite", "first", "participle", "zu"),
    [
        ("vor+legen", "legt", "lege", "vorgelegt", "vorzulegen"),
        ("an+nehmen", "nimmt", "nehme", "angenommen", "anzunehmen"),
        ("unter_stützen", "unterstützt", "unterstütze", "unterstützt", "zu unterstützen"),
        ("vor+be_reiten", "bereitet", "bereite", "vorbereitet", "vorzubereiten"),
        ("wieder+auf+nehmen", "nimmt", "nehme", "wiederaufgenommen", "wiederaufzunehmen"),
        ("ändern", "ändert", "ändere", "geändert", "zu ändern"),
        ("weiter+ent_wickeln", "entwickelt", "entwickle", "weiterentwickelt", "weiterzuentwickeln"),
        ("unter_zeichnen", "unterzeichnet", "unterzeichne", "unterzeichnet", "zu unterzeichnen"),
        ("ab+lehnen", "lehnt", "lehne", "abgelehnt", "abzulehnen"),
        ("kritisieren", "kritisiert", "kritisiere", "kritisiert", "zu kritisieren"),
        ("ver_gessen", "vergisst", "vergesse", "vergessen", "zu vergessen"),
        ("be_antragen", "beantragt", "beantrage", "beantragt", "zu beantragen"),
        ("ver_schweigen", "verschweigt", "verschweige", "verschwiegen", "zu verschweigen"),
        ("ab+reißen", "reißt", "reiße", "abgerissen", "abzureißen"),
        ("er_öffnen", "eröffnet", "eröffne", "eröffnet", "zu eröffnen"),
    ],
)
def test_german_verbs(cell, finite, first, participle, zu):
    verb = GermanVerb(cell)
    assert (verb.finite, verb.present("1s"), verb.participle, verb.zu) == (finite, first, participle, zu)


def test_german_verbs_say_what_they_govern():
    verb = GermanVerb("sich~be_fassen:mit")
    assert (verb.reflexive, verb.governs) == (True, "mit")
    assert GermanVerb("stellen>eine Frage").literal == "eine Frage"
    assert (GermanVerb("prüfen").governs, GermanVerb("bei+treten*:dat").auxiliary) == ("acc", "sein")


@pytest.mark.parametrize(
    ("cell", "text", "stem", "comparative", "superlative"),
    [
        ("wichtig", "wichtig", "wichtig", "wichtiger", "wichtigst"),
        ("teuer/teur/teurer", "teuer", "teur", "teurer", "teuerst"),
        ("schwach/schwach/schwächer", "schwach", "schwach", "schwächer", "schwächst"),
        ("gut/gut/besser", "gut", "gut", "besser", "best"),
        ("groß/groß/größer", "groß", "groß", "größer", "größt"),
        ("bedeutend", "bedeutend", "bedeutend", "bedeutender", "bedeutendst"),
        ("gerecht", "gerecht", "gerecht", "gerechter", "gerechtest"),
        ("flexibel/flexibl/flexibler", "flexibel", "flexibl", "flexibler", "flexibelst"),
        ("historisch", "historisch", "historisch", "historischer", "historischst"),
    ],
)
def test_german_adjectives(cell, text, stem, comparative, superlative):
    adjective = german.Adjective(cell)
    found = (adjective.text, adjective.stem, adjective.comparative, adjective.superlative)
    assert found == (text, stem, comparative, superlative)


def test_german_pronouns_of_things_join_their_preposition():
    assert german.Pronoun("3s", "m", thing=True).form("über") == "darüber"
    assert german.Pronoun("3s", "f", thing=True).form("für") == "dafür"
    assert german.Pronoun("3s", "f").form("für") == "für sie"
    assert german.Pronoun("3p", "p").form("dat") == "ihnen"


@pytest.mark.parametrize(
    ("cell", "options", "spec", "expected"),
    [
        ("m rapport", {}, "de", "du rapport"),
        ("m rapport", {}, "à", "au rapport"),
        ("m accord", {}, "", "l'accord"),
        ("f étude", {}, "à", "à l'étude"),
        ("m rapport", {"plural": True}, "de", "des rapports"),
        ("m accord", {"determiner": "this"}, "", "cet accord"),
        ("f étude", {"determiner": "his"}, "", "son étude"),
        ("f loi", {"determiner": "his"}, "sur", "sur sa loi"),
        ("f hausse", {}, "", "la hausse"),
        ("m hôpital/hôpitaux", {}, "", "l'hôpital"),
        ("m hôpital/hôpitaux", {"plural": True}, "", "les hôpitaux"),
        ("m projet de loi", {"plural": True}, "", "les projets de loi"),
        ("m rapport annuel", {"plural": True}, "", "les rapports annuels"),
        ("m réseau électrique", {"plural": True, "determiner": "many"}, "", "beaucoup de réseaux électriques"),
        ("f loi", {"adjective": "nouveau/nouvelle"}, "", "la nouvelle loi"),
        ("m accord", {"adjective": "nouveau/nouvelle"}, "", "le nouvel accord"),
        ("f loi", {"plural": True, "adjective": "décisif"}, "", "les lois décisives"),
        ("f loi", {"determiner": "a", "plural": True}, "de", "de lois"),
        ("f loi", {"determiner": "which"}, "", "quelle loi"),
        ("m Portugal", {}, "place", "au Portugal"),
        ("f Italie", {}, "place", "en Italie"),
        ("f Hongrie", {}, "source", "de Hongrie"),
        ("mp Pays-Bas", {}, "source", "des Pays-Bas"),
        ("f loi", {}, "rel.à", "à laquelle"),
        ("m rapport", {"plural": True}, "rel.à", "auxquels"),
        ("m rapport", {}, "rel.de", "dont"),
        ("m rapport", {}, "rel.sur", "sur lequel"),
        ("f loi", {"plural": True}, "agreed.adopté", "adoptées"),
    ],
)
def test_french_noun_phrases(cell, options, spec, expected):
    assert french.elide(f"{_phrase(french, cell, **options):{spec}}") == expected


@pytest.mark.parametrize(
    ("infinitive", "participle", "present", "future", "first_plural", "subjunctive"),
    [
        ("adopter", "adopté", "adopte adoptent", "adoptera", "adoptons", "adopte"),
        ("rejeter", "rejeté", "rejette rejettent", "rejettera", "rejetons", "rejette"),
        ("achever", "achevé", "achève achèvent", "achèvera", "achevons", "achève"),
        ("protéger", "protégé", "protège protègent", "protégera", "protégeons", "protège"),
        ("employer", "employé", "emploie emploient", "emploiera", "employons", "emploie"),
        ("renvoyer", "renvoyé", "renvoie renvoient", "renverra", "renvoyons", "renvoie"),
        ("annoncer", "annoncé", "annonce annoncent", "annoncera", "annonçons", "annonce"),
        ("exécuter", "exécuté", "exécute exécutent", "exécutera", "exécutons", "exécute"),
        ("abolir", "aboli", "abolit abolissent", "abolira", "abolissons", "abolisse"),
        ("soutenir", "soutenu", "soutient soutiennent", "soutiendra", "soutenons", "soutienne"),
        ("ouvrir", "ouvert", "ouvre ouvrent", "ouvrira", "ouvrons", "ouvre"),
        ("défendre", "défendu", "défend défendent", "défendra", "défendons", "défende"),
        ("reprendre", "repris", "reprend reprennent", "reprendra", "reprenons", "reprenne"),
        ("produire", "produit", "produit produisent", "produira", "produisons", "produise"),
        ("promouvoir", "promu", "promeut promeuvent", "promouvra", "promouvons", "promeuve"),
        ("décevoir", "déçu", "déçoit déçoivent", "décevra", "décevons", "déçoive"),
        ("faire", "fait", "fait font", "fera", "faisons", "fasse"),
        ("résoudre", "résolu", "résout résolvent", "résoudra", "résolvons", "résolve"),
        ("élire", "élu", "élit élisent", "élira", "élisons", "élise"),
    ],
)
def test_french_verbs(infinitive, participle, present, future, first_plural, subjunctive):
    verb = FrenchVerb(infinitive)
    found = (verb.participle, f"{verb.present('3s')} {verb.present('3p')}", verb.future("3s"), verb.present("1p"))
    assert (*found, verb.subjunctive("3s")) == (participle, present, future, first_plural, subjunctive)


def test_french_first_person_imperfect_and_conditional():
    persons = [FrenchVerb(word).present("1s") for word in ("adopter", "soutenir", "mettre", "prendre", "reconnaître")]
    assert persons == ["adopte", "soutiens", "mets", "prends", "reconnais"]
    assert FrenchVerb("soutenir").imperfect("3p") == "soutenaient"
    assert FrenchVerb("annoncer").imperfect("1p") == "annoncions"
    assert FrenchVerb("annoncer").imperfect("3s") == "annonçait"
    assert FrenchVerb("finir").conditional("1p") == "finirions"


def test_french_elision_across_words_spares_aspirated_h_and_numbers():
    said = french.elide("le on que il de un la avait le huit le onze le habitant la hausse si ils ne y lorsque elle")
    assert said == "l'on qu'il d'un l'avait le huit le onze l'habitant la hausse s'ils n'y lorsqu'elle"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("décisif", "décisif décisive décisifs décisives"),
        ("ambitieux", "ambitieux ambitieuse ambitieux ambitieuses"),
        ("social", "social sociale sociaux sociales"),
        ("européen/européenne", "européen européenne européens européennes"),
        ("complet/complète", "complet complète complets complètes"),
        ("financier", "financier financière financiers financières"),
    ],
)
def test_french_adjectives(cell, expected):
    assert " ".join(french.Adjective(cell).form(spec) for spec in ("ms", "fs", "mp", "fp")) == expected


@pytest.mark.parametrize(
    ("cell", "options", "spec", "expected"),
    [
        ("f relazione", {}, "su", "sulla relazione"),
        ("m accordo", {}, "di", "dell'accordo"),
        ("m studio", {}, "", "lo studio"),
        ("m studio", {"plural": True}, "a", "agli studi"),
        ("m programma", {"plural": True}, "", "i programmi"),
        ("f banca", {"plural": True}, "", "le banche"),
        ("m medico", {"plural": True}, "", "i medici"),
        ("m parco", {"plural": True}, "in", "nei parchi"),
        ("m dialogo", {"plural": True}, "", "i dialoghi"),
        ("f autorità/autorità", {"plural": True}, "", "le autorità"),
        ("m progetto di legge", {"plural": True}, "", "i progetti di legge"),
        ("f provincia", {"plural": True}, "", "le province"),
        ("f linea guida/linee guida", {"plural": True}, "", "le linee guida"),
        ("m accordo", {"determiner": "this"}, "", "quest'accordo"),
        ("f analisi", {"determiner": "a"}, "", "un'analisi"),
        ("m studio", {"determiner": "a"}, "", "uno studio"),
        ("f relazione", {"determiner": "his"}, "su", "sulla sua relazione"),
        ("m studio", {"determiner": "their", "plural": True}, "", "i loro studi"),
        ("f relazione", {"adjective": "nuovo"}, "", "la nuova relazione"),
        ("m accordo", {"adjective": "buono"}, "", "il buon accordo"),
        ("f relazione", {"plural": True, "adjective": "pubblico"}, "", "le relazioni pubbliche"),
        ("m accordo", {"plural": True, "adjective": "pubblico"}, "", "gli accordi pubblici"),
        ("mp Paesi Bassi", {}, "place", "nei Paesi Bassi"),
        ("f Francia", {}, "place", "in Francia"),
        ("f relazione", {}, "whose", "la cui"),
        ("f relazione", {}, "rel.su", "su cui"),
    ],
)
def test_italian_noun_phrases(cell, options, spec, expected):
    assert f"{_phrase(italian, cell, **options):{spec}}" == expected


@pytest.mark.parametrize(
    ("infinitive", "participle", "present", "future", "first_plural", "subjunctive", "imperfect"),
    [
        ("adottare", "adottato", "adotta adottano", "adotterà", "adottiamo", "adotti", "adottasse"),
        ("criticare", "criticato", "critica criticano", "criticherà", "critichiamo", "critichi", "criticasse"),
        ("annunciare", "annunciato", "annuncia annunciano", "annuncerà", "annunciamo", "annunci", "annunciasse"),
        ("rinviare", "rinviato", "rinvia rinviano", "rinvierà", "rinviamo", "rinvii", "rinviasse"),
        ("lodare", "lodato", "loda lodano", "loderà", "lodiamo", "lodi", "lodasse"),
        ("sostenere", "sostenuto", "sostiene sostengono", "sosterrà", "sosteniamo", "sostenga", "sostenesse"),
        ("respingere", "respinto", "respinge respingono", "respingerà", "respingiamo", "respinga", "respingesse"),
        ("difendere", "difeso", "difende difendono", "difenderà", "difendiamo", "difenda", "difendesse"),
        ("accogliere", "accolto", "accoglie accolgono", "accoglierà", "accogliamo", "accolga", "accogliesse"),
        ("tradurre", "tradotto", "traduce traducono", "tradurrà", "traduciamo", "traduca", "traducesse"),
        ("proporre", "proposto", "propone propongono", "proporrà", "proponiamo", "proponga", "proponesse"),
        ("abolire", "abolito", "abolisce aboliscono", "abolirà", "aboliamo", "abolisca", "abolisse"),
        ("ingrandire", "ingrandito", "ingrandisce ingrandiscono", "ingrandirà", "ingrandiamo", "ingrandisca", None),
        ("contraddire", "contraddetto", "contraddice contraddicono", "contraddirà", "contraddiciamo", None, None),
        ("aprire", "aperto", "apre aprono", "aprirà", "apriamo", "apra", "aprisse"),
        ("inasprire", "inasprito", "inasprisce inaspriscono", "inasprirà", "inaspriamo", "inasprisca", None),
        ("fare", "fatto", "fa fanno", "farà", "facciamo", "faccia", "facesse"),
        ("dare", "dato", "dà danno", "darà", "diamo", "dia", "desse"),
        ("redigere", "redatto", "redige redigono", "redigerà", "redigiamo", "rediga", "redigesse"),
        ("prevenire", "prevenuto", "previene prevengono", "preverrà", "preveniamo", "prevenga", "prevenisse"),
    ],
)
def test_italian_verbs(infinitive, participle, present, future, first_plural, subjunctive, imperfect):
    verb = ItalianVerb(infinitive)
    found = (verb.participle, f"{verb.present('3s')} {verb.present('3p')}", verb.future("3s"), verb.present("1p"))
    assert found == (participle, present, future, first_plural)
    assert subjunctive in (None, verb.subjunctive("3s")) and imperfect in (None, verb.imperfect_subjunctive("3s"))


def test_italian_elision_across_words():
    assert italian.elide("la ha adottata e è giunta a Atene") == "l'ha adottata ed è giunta ad Atene"


@pytest.mark.parametrize(
    ("cell", "options", "spec", "expected"),
    [
        ("report", {"determiner": "a", "adjective": "important"}, "", "an important report"),
        ("report", {"determiner": "this", "plural": True}, "", "these reports"),
        ("woman/women", {"plural": True, "determiner": "generic"}, "", "women"),
        ("the internal market", {"determiner": "generic"}, "on", "on the internal market"),
        ("agriculture", {"determiner": "generic"}, "on", "on agriculture"),
        ("code of conduct", {"plural": True}, "", "the codes of conduct"),
        ("party", {"plural": True}, "", "the parties"),
        ("university", {"determiner": "a"}, "", "a university"),
        ("p taxes", {"determiner": "generic"}, "", "taxes"),
    ],
)
def test_english_noun_phrases(cell, options, spec, expected):
    assert f"{_phrase(english, cell, **options):{spec}}" == expected


@pytest.mark.parametrize(
    ("cell", "third", "past", "participle", "gerund"),
    [
        ("adopt", "adopts", "adopted", "adopted", "adopting"),
        ("withdraw/withdrew/withdrawn", "withdraws", "withdrew", "withdrawn", "withdrawing"),
        ("ban/banned/banned", "bans", "banned", "banned", "banning"),
        ("simplify", "simplifies", "simplified", "simplified", "simplifying"),
        ("employ", "employs", "employed", "employed", "employing"),
        ("reach", "reaches", "reached", "reached", "reaching"),
        ("set/set/set+up", "sets", "set", "set", "setting"),
        ("agree:to", "agrees", "agreed", "agreed", "agreeing"),
    ],
)
def test_english_verbs(cell, third, past, participle, gerund):
    verb = EnglishVerb(cell)
    assert (verb.present("3s"), verb.past, verb.participle, verb.gerund) == (third, past, participle, gerund)


def test_english_comparison():
    assert english.Adjective("weak/weaker").superlative == "weakest"
    assert english.Adjective("good/better").superlative == "best"
    assert english.Adjective("useful").superlative == "most useful"


@pytest.mark.parametrize("name", sorted(NOUN_CLASSES.values()))
def test_every_noun_of_the_lexicon_has_all_its_forms(name):
    for row in table(name).values():
        for module, language, spec in ((german, "deu", "dat"), (french, "fra", "de"), (italian, "ita", "di")):
            phrase = _phrase(module, row.cell(language))
            assert phrase.gender in ("m", "f", "n", "p", "-") and len(phrase.form(spec).split()) >= 1
        plural = _phrase(german, row.cell("deu"), plural=True) if german.Noun(row.cell("deu")).countable else None
        assert plural is None or plural.form("dat").endswith(("n", "s", "a")), row

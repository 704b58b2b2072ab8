"""Verbs, adjectives and fixed words of the parliament grammar, one line each: English | German | French | Italian.

Verbs: `infinitive past participle` | `prefix+infinitive participle finite` | `infinitive participle present-3s
present-3p future-3s`, twice. A regular French -er or Italian -are verb is its infinitive alone, as is a regular English
one.
"""

VERBS = """
present | vor+legen vorgelegt legt | présenter | presentare
support | unterstützen unterstützt unterstützt | soutenir soutenu soutient soutiennent soutiendra | \
sostenere sostenuto sostiene sostengono sosterrà
reject | ab+lehnen abgelehnt lehnt | rejeter rejeté rejette rejettent rejettera | \
respingere respinto respinge respingono respingerà
examine | prüfen geprüft prüft | examiner | esaminare
adopt | an+nehmen angenommen nimmt | adopter | adottare
amend | ändern geändert ändert | modifier | modificare
defend | verteidigen verteidigt verteidigt | défendre défendu défend défendent défendra | \
difendere difeso difende difendono difenderà
criticise | kritisieren kritisiert kritisiert | critiquer | criticare
withdraw withdrew withdrawn | zurück+ziehen zurückgezogen zieht | retirer | ritirare
discuss | erörtern erörtert erörtert | discuter | discutere discusso discute discutono discuterà
approve | billigen gebilligt billigt | approuver | approvare
publish | veröffentlichen veröffentlicht veröffentlicht | publier | pubblicare
read read read | lesen gelesen liest | lire lu lit lisent lira | leggere letto legge leggono leggerà
prepare | vor+bereiten vorbereitet bereitet | préparer | preparare
welcome | begrüßen begrüßt begrüßt | saluer | accogliere accolto accoglie accolgono accoglierà
postpone | verschieben verschoben verschiebt | reporter | rinviare rinviato rinvia rinviano rinvierà
improve | verbessern verbessert verbessert | améliorer | migliorare
translate | übersetzen übersetzt übersetzt | traduire traduit traduit traduisent traduira | \
tradurre tradotto traduce traducono tradurrà
sign | unterzeichnen unterzeichnet unterzeichnet | signer | firmare
distribute | verteilen verteilt verteilt | distribuer | distribuire distribuito distribuisce distribuiscono distribuirà
explain | erläutern erläutert erläutert | expliquer | spiegare
block | blockieren blockiert blockiert | bloquer | bloccare
evaluate | bewerten bewertet bewertet | évaluer | valutare
complete | ab+schließen abgeschlossen schließt | achever achevé achève achèvent achèvera | completare
demand | fordern gefordert fordert | réclamer | richiedere richiesto richiede richiedono richiederà
accept | akzeptieren akzeptiert akzeptiert | accepter | accettare
simplify | vereinfachen vereinfacht vereinfacht | simplifier | semplificare
correct | korrigieren korrigiert korrigiert | corriger | correggere corretto corregge correggono correggerà
announce | an+kündigen angekündigt kündigt | annoncer | annunciare annunciato annuncia annunciano annuncerà
ignore | ignorieren ignoriert ignoriert | ignorer | ignorare
study | untersuchen untersucht untersucht | étudier | studiare studiato studia studiano studierà
mention | erwähnen erwähnt erwähnt | mentionner | menzionare
quote | zitieren zitiert zitiert | citer | citare
revise | überarbeiten überarbeitet überarbeitet | réviser | rivedere rivisto rivede rivedono rivedrà
"""

STANCES = "support reject defend criticise withdraw welcome postpone block accept approve ignore".split()
MY_STANCES = "support reject defend criticise welcome accept approve".split()
VERDICTS = "adopt reject approve accept withdraw postpone".split()

# English, `comparative` where it is not "more"; German, `attributive stem` and `comparative` after "/" where irregular;
# the French and Italian masculine singular (French feminine after "/" where irregular).
ADJECTIVES = """
important | wichtig | important | importante
urgent | dringend | urgent | urgente
necessary | notwendig | nécessaire | necessario
expensive | teuer/teur/teurer | cher/chère | costoso
difficult | schwierig | difficile | difficile
useful | nützlich | utile | utile
clear/clearer | klar | clair | chiaro
weak/weaker | schwach/schwach/schwächer | faible | debole
dangerous | gefährlich | dangereux | pericoloso
complicated | kompliziert | compliqué | complicato
fair/fairer | gerecht | juste | giusto
realistic | realistisch | réaliste | realistico
sustainable | nachhaltig | durable | sostenibile
balanced | ausgewogen | équilibré | equilibrato
ambitious | ehrgeizig | ambitieux | ambizioso
insufficient | unzureichend | insuffisant | insufficiente
efficient | effizient | efficace | efficiente
transparent | transparent | transparent | trasparente
popular | beliebt | populaire | popolare
controversial | umstritten | controversé | controverso
complete | vollständig | complet/complète | completo
modern | modern | moderne | moderno
credible | glaubwürdig | crédible | credibile
disappointing | enttäuschend | décevant | deludente
reasonable | vernünftig | raisonnable | ragionevole
strict/stricter | streng | sévère | severo
contradictory | widersprüchlich | contradictoire | contraddittorio
decisive | entscheidend | décisif | decisivo
courageous | mutig | courageux | coraggioso
detailed | ausführlich | détaillé | dettagliato
"""

TOPIC_ADJECTIVES = (
    "important urgent necessary expensive difficult useful weak dangerous complicated sustainable insufficient "
    "efficient popular controversial modern disappointing decisive"
).split()
DOCUMENT_ADJECTIVES = (
    "important useful clear complicated fair realistic balanced ambitious insufficient transparent controversial "
    "complete modern credible disappointing reasonable strict contradictory courageous detailed"
).split()
COMPARED_ADJECTIVES = (
    "important urgent expensive difficult useful weak dangerous complicated efficient popular controversial "
    "modern decisive"
).split()
FAULTS = "expensive difficult weak dangerous complicated popular modern".split()
TASK_ADJECTIVES = "important urgent necessary difficult useful dangerous reasonable realistic courageous".split()

PAST_TIMES = """
yesterday | gestern | hier | ieri
last week | letzte Woche | la semaine dernière | la settimana scorsa
last month | letzten Monat | le mois dernier | il mese scorso
last year | letztes Jahr | l'année dernière | l'anno scorso
this morning | heute Morgen | ce matin | questa mattina
"""
FUTURE_TIMES = """
tomorrow | morgen | demain | domani
next week | nächste Woche | la semaine prochaine | la settimana prossima
next month | nächsten Monat | le mois prochain | il mese prossimo
next year | nächstes Jahr | l'année prochaine | l'anno prossimo
this evening | heute Abend | ce soir | questa sera
this afternoon | heute Nachmittag | cet après-midi | questo pomeriggio
before the summer | vor dem Sommer | avant l'été | prima dell'estate
"""

MODAL_ADVERBS = """
quickly | schnell | rapidement | rapidamente
carefully | sorgfältig | soigneusement | attentamente
immediately | sofort | immédiatement | immediatamente
publicly | öffentlich | publiquement | pubblicamente
finally | endlich | enfin | finalmente
once again | noch einmal | encore une fois | ancora una volta
seriously | ernsthaft | sérieusement | seriamente
openly | offen | ouvertement | apertamente
without delay | unverzüglich | sans délai | senza indugio
"""
TASK_ADVERBS = ("quickly", "carefully", "immediately", "publicly", "once again", "seriously", "openly", "without delay")
SENTENCE_ADVERBS = """
unfortunately | leider | malheureusement | purtroppo
fortunately | glücklicherweise | heureusement | fortunatamente
obviously | offensichtlich | évidemment | evidentemente
of course | natürlich | naturellement | naturalmente
surprisingly | überraschenderweise | étonnamment | sorprendentemente
"""
# German: finite verb "/" its separable prefix.
PHASES = """
begins | beginnt/ | commence | inizia
ends | endet/ | se termine | termina
takes place | findet/statt | a lieu | si svolge
continues | geht/weiter | continue | continua
"""
TRENDS = """
rose | gestiegen | augmenté | aumentato
fell | gesunken | diminué | diminuito
"""
AMOUNTS = """
more | mehr | plus | più
less | weniger | moins | meno
"""
PROTECTIONS = """
protect | schützen | protéger | proteggere
respect | achten | respecter | rispettare
strengthen | stärken | renforcer | rafforzare
guarantee | garantieren | garantir | garantire
defend | verteidigen | défendre | difendere
"""
# "subjunctive" after "/" where French or Italian need it in the clause that follows.
ATTITUDES = """
I believe | ich glaube | je crois | credo/subjunctive
I think | ich denke | je pense | penso/subjunctive
we know | wir wissen | nous savons | sappiamo
I repeat | ich wiederhole | je répète | ripeto
I fear | ich befürchte | je crains/subjunctive | temo/subjunctive
we are convinced | wir sind überzeugt | nous sommes convaincus | siamo convinti/subjunctive
it is clear | es ist klar | il est clair | è chiaro
we have seen | wir haben gesehen | nous avons vu | abbiamo visto
everyone says | alle sagen | tout le monde dit | tutti dicono
"""
# English; German; French and Italian stems of the participle; the way ("in" or "from") last.
MOVEMENTS = """
arrived | angekommen | arrivé | arrivat | in
returned | zurückgekehrt | revenu | tornat | from
departed | abgereist | parti | partit | from
"""
ADDRESSES = """
Mr President | Herr Präsident | Monsieur le Président | signor Presidente
Madam President | Frau Präsidentin | Madame la Présidente | signora Presidente
ladies and gentlemen | meine Damen und Herren | Mesdames et Messieurs | signore e signori
dear colleagues | liebe Kolleginnen und Kollegen | chers collègues | cari colleghi
Commissioner | Herr Kommissar | Monsieur le Commissaire | signor Commissario
Minister | Frau Ministerin | Madame la Ministre | signora Ministro
"""
CONNECTIVES = """
but | aber | mais | ma
and | und | et | e
"""
DAYS = """
Monday | Montag | lundi | lunedì
Tuesday | Dienstag | mardi | martedì
Wednesday | Mittwoch | mercredi | mercoledì
Thursday | Donnerstag | jeudi | giovedì
Friday | Freitag | vendredi | venerdì
Saturday | Samstag | samedi | sabato
"""
MONTHS = """
January | Januar | janvier | gennaio
February | Februar | février | febbraio
March | März | mars | marzo
April | April | avril | aprile
May | Mai | mai | maggio
June | Juni | juin | giugno
July | Juli | juillet | luglio
August | August | août | agosto
September | September | septembre | settembre
October | Oktober | octobre | ottobre
November | November | novembre | novembre
December | Dezember | décembre | dicembre
"""

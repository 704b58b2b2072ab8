"""Nouns of the parliament grammar, one line each: English | German | French | Italian.

English: `p ` marks a plural. German: gender (m f n p), then noun, `/genitive` and `/oblique` where they differ, and a
weak adjective after `+`. French and Italian: gender and number (ms fs mp fp), then the noun without its article.
"""

TOPICS = """
the energy policy | f Energiepolitik | fs politique énergétique | fs politica energetica
agriculture | f Landwirtschaft | fs agriculture | fs agricoltura
fisheries | f Fischerei | fs pêche | fs pesca
public health | f Gesundheit +öffentlich | fs santé publique | fs sanità pubblica
climate protection | m Klimaschutz | fs protection du climat | fs protezione del clima
the internal market | m Binnenmarkt | ms marché intérieur | ms mercato interno
education | f Bildung | fs éducation | fs istruzione
migration | f Migration | fs migration | fs migrazione
data protection | m Datenschutz | fs protection des données | fs protezione dei dati
transport | m Verkehr | mp transports | mp trasporti
p human rights | p Menschenrechte//Menschenrechten | mp droits de l'homme | mp diritti umani
research | f Forschung | fs recherche | fs ricerca
the labour market | m Arbeitsmarkt | ms marché du travail | ms mercato del lavoro
p taxes | p Steuern | mp impôts | fp tasse
the budget | m Haushalt | ms budget | ms bilancio
food safety | f Lebensmittelsicherheit | fs sécurité alimentaire | fs sicurezza alimentare
tourism | m Tourismus | ms tourisme | ms turismo
foreign trade | m Außenhandel | ms commerce extérieur | ms commercio estero
water quality | f Wasserqualität | fs qualité de l'eau | fs qualità dell'acqua
culture | f Kultur | fs culture | fs cultura
the security policy | f Sicherheitspolitik | fs politique de sécurité | fs politica di sicurezza
development aid | f Entwicklungshilfe | fs aide au développement | mp aiuti allo sviluppo
the single currency | f Währung +gemeinsam | fs monnaie unique | fs moneta unica
environmental protection | m Umweltschutz | fs protection de l'environnement | fs tutela dell'ambiente
unemployment | f Arbeitslosigkeit | ms chômage | fs disoccupazione
enlargement | f Erweiterung | ms élargissement | ms allargamento
the death penalty | f Todesstrafe | fs peine de mort | fs pena di morte
freedom of the press | f Pressefreiheit | fs liberté de la presse | fs libertà di stampa
nuclear power | f Kernenergie | fs énergie nucléaire | fs energia nucleare
p pensions | p Renten | fp retraites | fp pensioni
social policy | f Sozialpolitik | fs politique sociale | fs politica sociale
equal treatment | f Gleichbehandlung | fs égalité de traitement | fs parità di trattamento
the fight against terrorism | f Terrorismusbekämpfung | fs lutte contre le terrorisme | fs lotta al terrorismo
consumer protection | m Verbraucherschutz | fs protection des consommateurs | fs tutela dei consumatori
animal protection | m Tierschutz | fs protection des animaux | fs protezione degli animali
the right of asylum | n Asylrecht | ms droit d'asile | ms diritto di asilo
the railway | f Eisenbahn | ms chemin de fer | fs ferrovia
air transport | m Luftverkehr | ms transport aérien | ms trasporto aereo
the financial crisis | f Finanzkrise | fs crise financière | fs crisi finanziaria
p imports | p Einfuhren | fp importations | fp importazioni
p small businesses | p Kleinbetriebe//Kleinbetrieben | fp petites entreprises | fp piccole imprese
justice | f Justiz | fs justice | fs giustizia
corruption | f Korruption | fs corruption | fs corruzione
the peace process | m Friedensprozess | ms processus de paix | ms processo di pace
road safety | f Straßenverkehrssicherheit | fs sécurité routière | fs sicurezza stradale
p medicines | p Arzneimittel//Arzneimitteln | mp médicaments | mp medicinali
waste disposal | f Abfallentsorgung | fs élimination des déchets | ms smaltimento dei rifiuti
p forests | p Wälder//Wäldern | fp forêts | fp foreste
vocational training | f Berufsausbildung | fs formation professionnelle | fs formazione professionale
space travel | f Raumfahrt | fs exploration spatiale | fs esplorazione spaziale
p subsidies | p Beihilfen | fp subventions | fp sovvenzioni
the minimum wage | m Mindestlohn | ms salaire minimum | ms salario minimo
cooperation | f Zusammenarbeit | fs coopération | fs cooperazione
competition | m Wettbewerb | fs concurrence | fs concorrenza
"""

DOCUMENTS = """
report | m Bericht/Berichts | ms rapport | fs relazione
motion | m Antrag/Antrags | fs motion | fs mozione
proposal | m Vorschlag/Vorschlags | fs proposition | fs proposta
resolution | f Entschließung | fs résolution | fs risoluzione
agreement | n Abkommen/Abkommens | ms accord | ms accordo
programme | n Programm/Programms | ms programme | ms programma
strategy | f Strategie | fs stratégie | fs strategia
directive | f Richtlinie | fs directive | fs direttiva
regulation | f Verordnung | ms règlement | ms regolamento
plan | m Plan/Plans | ms plan | ms piano
statement | f Erklärung | fs déclaration | fs dichiarazione
treaty | m Vertrag/Vertrags | ms traité | ms trattato
opinion | f Stellungnahme | ms avis | ms parere
question | f Anfrage | fs question | fs interrogazione
reform | f Reform | fs réforme | fs riforma
text | m Text/Textes | ms texte | ms testo
letter | m Brief/Briefs | fs lettre | fs lettera
study | f Studie | fs étude | ms studio
charter | f Charta | fs charte | fs carta
analysis | f Analyse | fs analyse | fs analisi
"""

GROUPS = """
the Commission | f Kommission | fs Commission | fs Commissione
the Council | m Rat/Rates | ms Conseil | ms Consiglio
Parliament | n Parlament/Parlaments | ms Parlement | ms Parlamento
the committee | m Ausschuss/Ausschusses | fs commission compétente | fs commissione competente
the government | f Regierung | ms gouvernement | ms governo
the delegation | f Delegation | fs délégation | fs delegazione
the Court of Justice | m Gerichtshof/Gerichtshofs | fs Cour de justice | fs Corte di giustizia
the presidency | f Ratspräsidentschaft | fs présidence | fs presidenza
p the Member States | p Mitgliedstaaten | mp États membres | mp Stati membri
the rapporteur | m Berichterstatter/Berichterstatters | ms rapporteur | ms relatore
the chairwoman | f Vorsitzende/Vorsitzenden/Vorsitzenden | fs présidente | fs presidente
the minister | m Minister/Ministers | ms ministre | ms ministro
p the Socialists | p Sozialisten | mp socialistes | mp socialisti
p the Greens | p Grünen | mp Verts | mp Verdi
p the Liberals | p Liberalen | mp libéraux | mp liberali
the opposition | f Opposition | fs opposition | fs opposizione
the majority | f Mehrheit | fs majorité | fs maggioranza
the Central Bank | f Zentralbank | fs Banque centrale | fs Banca centrale
the industry | f Industrie | fs industrie | fs industria
p the trade unions | p Gewerkschaften | mp syndicats | mp sindacati
p the experts | p Experten | mp experts | mp esperti
the agency | f Agentur | fs agence | fs agenzia
the working group | f Arbeitsgruppe | ms groupe de travail | ms gruppo di lavoro
p the regions | p Regionen | fp régions | fp regioni
"""

EVENTS = """
the debate | f Aussprache | ms débat | fs discussione
the vote | f Abstimmung | ms vote | fs votazione
the hearing | f Anhörung | fs audition | fs audizione
the conference | f Konferenz | fs conférence | fs conferenza
the meeting | n Treffen | fs réunion | fs riunione
the seminar | n Seminar | ms séminaire | ms seminario
"""

# The German column is the genitive plural without its article.
PEOPLE = """
p citizens | p Bürger | mp citoyens | mp cittadini
p workers | p Arbeitnehmer | mp travailleurs | mp lavoratori
p farmers | p Landwirte | mp agriculteurs | mp agricoltori
p students | p Studenten | mp étudiants | mp studenti
p refugees | p Flüchtlinge | mp réfugiés | mp rifugiati
p women | p Frauen | fp femmes | fp donne
p children | p Kinder | mp enfants | mp bambini
p consumers | p Verbraucher | mp consommateurs | mp consumatori
p unemployed people | p Arbeitslosen | mp chômeurs | mp disoccupati
p patients | p Patienten | mp patients | mp pazienti
p families | p Familien | fp familles | fp famiglie
p fishermen | p Fischer | mp pêcheurs | mp pescatori
p pensioners | p Rentner | mp retraités | mp pensionati
p teachers | p Lehrer | mp enseignants | mp insegnanti
p doctors | p Ärzte | mp médecins | mp medici
"""

ASSETS = """
p rights | p Rechte | mp droits | mp diritti
p interests | p Interessen | mp intérêts | mp interessi
freedom | f Freiheit | fs liberté | fs libertà
dignity | f Würde | fs dignité | fs dignità
safety | f Sicherheit | fs sécurité | fs sicurezza
future | f Zukunft | ms avenir | ms futuro
income | n Einkommen | ms revenu | ms reddito
p jobs | p Arbeitsplätze | mp emplois | mp posti di lavoro
"""

# German: gender "-" has no article. French and Italian: as for the other nouns.
COUNTRIES = """
Germany | - Deutschland | fs Allemagne | fs Germania
France | - Frankreich | fs France | fs Francia
Italy | - Italien | fs Italie | fs Italia
Spain | - Spanien | fs Espagne | fs Spagna
Portugal | - Portugal | ms Portugal | ms Portogallo
Austria | - Österreich | fs Autriche | fs Austria
Belgium | - Belgien | fs Belgique | ms Belgio
Denmark | - Dänemark | ms Danemark | fs Danimarca
Sweden | - Schweden | fs Suède | fs Svezia
Finland | - Finnland | fs Finlande | fs Finlandia
Poland | - Polen | fs Pologne | fs Polonia
Greece | - Griechenland | fs Grèce | fs Grecia
Ireland | - Irland | fs Irlande | fs Irlanda
Hungary | - Ungarn | fs Hongrie | fs Ungheria
Romania | - Rumänien | fs Roumanie | fs Romania
Bulgaria | - Bulgarien | fs Bulgarie | fs Bulgaria
Croatia | - Kroatien | fs Croatie | fs Croazia
Estonia | - Estland | fs Estonie | fs Estonia
Lithuania | - Litauen | fs Lituanie | fs Lituania
Slovenia | - Slowenien | fs Slovénie | fs Slovenia
Slovakia | f Slowakei | fs Slovaquie | fs Slovacchia
the Netherlands | p Niederlande//Niederlanden | mp Pays-Bas | mp Paesi Bassi
"""

CITIES = """
Berlin | Berlin | Berlin | Berlino
Paris | Paris | Paris | Parigi
Rome | Rom | Rome | Roma
Brussels | Brüssel | Bruxelles | Bruxelles
Strasbourg | Straßburg | Strasbourg | Strasburgo
Vienna | Wien | Vienne | Vienna
Athens | Athen | Athènes | Atene
Lisbon | Lissabon | Lisbonne | Lisbona
Madrid | Madrid | Madrid | Madrid
Warsaw | Warschau | Varsovie | Varsavia
Prague | Prag | Prague | Praga
Copenhagen | Kopenhagen | Copenhague | Copenaghen
"""

SURNAMES = """
Weber Rossi Martin Schmidt Müller Moretti Dubois Keller Romano Bernard Novak Silva Garcia Peters Lambert Conti Fischer
Wagner Becker Hoffmann Schneider Bauer Richter Klein Wolf Neumann Zimmermann Krüger Lefebvre Moreau Laurent Girard
Fontaine Rousseau Leroy Mercier Blanc Renard Bianchi Ferrari Esposito Colombo Ricci Marino Greco Bruno Gallo Costa
Fontana Lombardi Larsen Jansen Kowalski Horvat Papadopoulos Andersson Virtanen Santos Ferreira Lopez
"""

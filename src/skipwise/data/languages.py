"""Language codes: two letters (ISO 639-1) are accepted, three (ISO 639-3) are stored; and English names."""

from collections.abc import Mapping
from types import MappingProxyType

from skipwise.errors import SkipwiseError

_LANGUAGES = (
    "af afr afrikaans,am amh amharic,ar ara arabic,as asm assamese,az aze azerbaijani,be bel belarusian,"
    "bg bul bulgarian,bn ben bengali,bs bos bosnian,ca cat catalan,cs ces czech,cy cym welsh,da dan danish,"
    "de deu german,el ell greek,en eng english,es spa spanish,et est estonian,eu eus basque,fa fas persian,"
    "fi fin finnish,fr fra french,ga gle irish,gl glg galician,gu guj gujarati,ha hau hausa,he heb hebrew,"
    "hi hin hindi,hr hrv croatian,hu hun hungarian,hy hye armenian,id ind indonesian,ig ibo igbo,"
    "is isl icelandic,it ita italian,ja jpn japanese,jv jav javanese,ka kat georgian,kk kaz kazakh,"
    "km khm khmer,kn kan kannada,ko kor korean,ku kur kurdish,ky kir kyrgyz,lb ltz luxembourgish,"
    "ln lin lingala,lo lao lao,lt lit lithuanian,lv lav latvian,mi mri maori,mk mkd macedonian,"
    "ml mal malayalam,mn mon mongolian,mr mar marathi,ms msa malay,mt mlt maltese,my mya burmese,"
    "nb nob norwegian,ne nep nepali,nl nld dutch,nn nno nynorsk,oc oci occitan,or ori oriya,pa pan punjabi,"
    "pl pol polish,ps pus pashto,pt por portuguese,ro ron romanian,ru rus russian,sd snd sindhi,sk slk slovak,"
    "sl slv slovenian,sn sna shona,so som somali,sq sqi albanian,sr srp serbian,sv swe swedish,sw swa swahili,"
    "ta tam tamil,te tel telugu,tg tgk tajik,th tha thai,tr tur turkish,uk ukr ukrainian,ur urd urdu,"
    "uz uzb uzbek,vi vie vietnamese,wo wol wolof,xh xho xhosa,yo yor yoruba,zh zho chinese,zu zul zulu"
)
_ENTRIES = tuple(entry.split() for entry in _LANGUAGES.split(","))
_TO_THREE: Mapping[str, str] = MappingProxyType({two: three for two, three, _ in _ENTRIES})
_TO_TWO: Mapping[str, str] = MappingProxyType({three: two for two, three, _ in _ENTRIES})
_BY_NAME: Mapping[str, str] = MappingProxyType({name: three for _, three, name in _ENTRIES})


def to_iso639_3(code: str) -> str:
    """The three-letter code: "de" -> "deu", "DEU" -> "deu"."""
    lowered = code.strip().lower()
    if lowered in _TO_TWO:
        return lowered
    if lowered in _TO_THREE:
        return _TO_THREE[lowered]
    raise SkipwiseError(_message(code))


def to_iso639_1(code: str) -> str:
    """The two-letter code: "deu" -> "de", "DE" -> "de"."""
    return _TO_TWO[to_iso639_3(code)]


def named_language(name: str) -> str:
    """The three-letter code of what data from elsewhere say: "de", "deu", "de-DE", "de_AT" or "German"."""
    lowered = name.strip().lower()
    if lowered in _BY_NAME:
        return _BY_NAME[lowered]
    try:
        return to_iso639_3(lowered.replace("_", "-").split("-")[0])
    except SkipwiseError:
        raise SkipwiseError(_message(name)) from None


def _message(code: str) -> str:
    accepted = ", ".join(f"{two}/{three}" for two, three in _TO_THREE.items())
    return f"unknown language {code!r}. Accepted are ISO 639-1 and 639-3 codes: {accepted}."

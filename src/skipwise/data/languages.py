"""Language codes: two letters (ISO 639-1) are accepted, three (ISO 639-3) are stored."""

from collections.abc import Mapping
from types import MappingProxyType

from skipwise.errors import SkipwiseError

_CODES = (
    "af afr,am amh,ar ara,as asm,az aze,be bel,bg bul,bn ben,bs bos,ca cat,cs ces,cy cym,da dan,"
    "de deu,el ell,en eng,es spa,et est,eu eus,fa fas,fi fin,fr fra,ga gle,gl glg,gu guj,ha hau,"
    "he heb,hi hin,hr hrv,hu hun,hy hye,id ind,ig ibo,is isl,it ita,ja jpn,jv jav,ka kat,kk kaz,"
    "km khm,kn kan,ko kor,ku kur,ky kir,lb ltz,ln lin,lo lao,lt lit,lv lav,mi mri,mk mkd,ml mal,"
    "mn mon,mr mar,ms msa,mt mlt,my mya,nb nob,ne nep,nl nld,nn nno,oc oci,or ori,pa pan,pl pol,"
    "ps pus,pt por,ro ron,ru rus,sd snd,sk slk,sl slv,sn sna,so som,sq sqi,sr srp,sv swe,sw swa,"
    "ta tam,te tel,tg tgk,th tha,tr tur,uk ukr,ur urd,uz uzb,vi vie,wo wol,xh xho,yo yor,zh zho,"
    "zu zul"
)
_TO_THREE: Mapping[str, str] = MappingProxyType({pair[:2]: pair[3:] for pair in _CODES.split(",")})
_TO_TWO: Mapping[str, str] = MappingProxyType({three: two for two, three in _TO_THREE.items()})


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


def _message(code: str) -> str:
    accepted = ", ".join(f"{two}/{three}" for two, three in _TO_THREE.items())
    return f"unknown language {code!r}. Accepted are ISO 639-1 and 639-3 codes: {accepted}."

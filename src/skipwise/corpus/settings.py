"""What a corpus is made from: equal settings and versions make equal bytes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from skipwise.data.languages import to_iso639_1, to_iso639_3
from skipwise.errors import SkipwiseError

SPEAKING = ("deu", "fra", "ita")
"""Languages that have voices and source texts here."""

SPLITS = ("train", "dev", "test", "test_unseen")
"""`test_unseen` has the sentence patterns that no other split has."""

_HOURS_FIELDS = ("dev_hours", "test_hours", "test_unseen_hours")


@dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """What to make. `resolved()` fills in what is None."""

    hours: float
    """Hours of training speech, over all languages together."""
    seed: int = 1
    """Everything random follows from it."""
    languages: tuple[str, ...] = SPEAKING
    """Source languages, ISO 639-1 or 639-3; English is always the target."""
    dev_hours: float | None = None
    """Hours of development speech; None: 4 % of `hours`, at least 8 minutes (less for a corpus below one hour)."""
    test_hours: float | None = None
    """Hours of test speech; None: 10 % of `hours`, at least 20 minutes (less for a corpus below one hour)."""
    test_unseen_hours: float | None = None
    """Hours of test speech with unseen sentence patterns; None: a quarter of `test_hours`."""
    train_speakers: int = 60
    """Training speakers per language."""
    dev_speakers: int = 8
    """Development speakers per language."""
    test_speakers: int = 12
    """Test speakers per language, those of `test_unseen` too."""
    snr_min_db: float = 0.0
    """Lowest signal-to-noise ratio of a speech."""
    snr_max_db: float = 30.0
    """Highest signal-to-noise ratio of a speech."""
    room_share: float = 0.7
    """Share of the speeches that are in a room; the others are right at the microphone."""

    def __post_init__(self) -> None:
        for field, low, high in (("hours", 0.001, 2000.0), *((field, 0.001, 200.0) for field in _HOURS_FIELDS)):
            value = getattr(self, field)
            if value is not None and not low <= value <= high:
                raise SkipwiseError(f"{field} must be between {low:g} and {high:g}, got {value:g}.")
        for split in SPLITS[:3]:
            if not 1 <= getattr(self, f"{split}_speakers") <= 999:
                raise SkipwiseError(
                    f"{split}_speakers must be between 1 and 999, got {getattr(self, f'{split}_speakers')}."
                )
        if not -10 <= self.snr_min_db <= self.snr_max_db <= 100:
            raise SkipwiseError(
                f"the signal-to-noise ratio must satisfy -10 <= snr_min_db <= snr_max_db <= 100, "
                f"got {self.snr_min_db:g} and {self.snr_max_db:g}."
            )
        if not 0 <= self.room_share <= 1:
            raise SkipwiseError(f"room_share must be in [0, 1], got {self.room_share:g}. For no rooms give 0.")
        if self.seed < 0:
            raise SkipwiseError(f"seed must be 0 or more, got {self.seed}.")
        codes = tuple(to_iso639_3(code) for code in self.languages)
        if not codes or len(set(codes)) != len(codes) or not set(codes) <= set(SPEAKING):
            allowed = ", ".join(to_iso639_1(code) for code in SPEAKING)
            raise SkipwiseError(
                f"languages must be different ones of {allowed}, got {', '.join(self.languages) or 'none'}."
            )
        object.__setattr__(self, "languages", codes)

    def resolved(self) -> "CorpusSettings":
        """These settings with the hours of each split filled in."""
        scale = min(1.0, self.hours)
        dev = max(0.04 * self.hours, scale * 8 / 60, 0.001)
        test = self.test_hours or round(max(0.10 * self.hours, scale * 20 / 60, 0.001), 6)
        return replace(
            self,
            dev_hours=self.dev_hours or round(dev, 6),
            test_hours=test,
            test_unseen_hours=self.test_unseen_hours or round(max(test / 4, 0.001), 6),
        )

    def split_hours(self, split: str) -> float:
        """Hours of one split, over all languages together."""
        resolved = self.resolved()
        hours = resolved.hours if split == "train" else getattr(resolved, f"{split}_hours")
        assert hours is not None
        return hours

    def speakers(self, split: str) -> int:
        """Speakers per language of one split."""
        return getattr(self, "test_speakers" if split == "test_unseen" else f"{split}_speakers")

    def as_dict(self) -> dict[str, Any]:
        """The resolved settings as JSON data."""
        return {**asdict(self.resolved()), "languages": list(self.languages)}


PRESETS: Mapping[str, CorpusSettings] = MappingProxyType(
    {
        "tiny": CorpusSettings(
            hours=0.03, dev_hours=0.006, test_hours=0.006, test_unseen_hours=0.006, train_speakers=3
        ),
        "small": CorpusSettings(hours=14.0),
        # the same speakers as `full`, and the beginning of its test split
        "study": CorpusSettings(
            hours=12.0, dev_hours=1.0, test_hours=3.0, test_unseen_hours=0.5, train_speakers=240, test_speakers=30
        ),
        # 9 hours of test speech are about 158,000 words, source and English together
        "full": CorpusSettings(
            hours=60.0, dev_hours=1.0, test_hours=9.0, test_unseen_hours=1.5, train_speakers=240, test_speakers=30
        ),
    }
)
"""Sizes by name: for trying things out, for two CPU cores, for short trainings of a model that knows `full`, and for
results that deserve conclusions."""


def preset(name: str) -> CorpusSettings:
    """The settings called `name`."""
    if name not in PRESETS:
        raise SkipwiseError(f"unknown preset {name!r}. There are: {', '.join(PRESETS)}.")
    return PRESETS[name]

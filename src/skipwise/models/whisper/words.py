"""The languages and tasks of a Whisper, and how they stand in its tokens.

Source: `generation_config.json` of the published models: `lang_to_id`, `task_to_id`, `is_multilingual`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from skipwise.data.languages import to_iso639_3
from skipwise.errors import SkipwiseError
from skipwise.gating import Context

_ONLY_ENGLISH = "eng"
_TASKS: Mapping[str, str] = MappingProxyType({"transcribe": "asr", "translate": "st_eng"})
_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "no": "nor",
        "la": "lat",
        "br": "bre",
        "si": "sin",
        "yi": "yid",
        "fo": "fao",
        "ht": "hat",
        "tk": "tuk",
        "sa": "san",
        "bo": "bod",
        "tl": "tgl",
        "mg": "mlg",
        "tt": "tat",
        "ba": "bak",
        "jw": "jav",
        "su": "sun",
    }
)
"""Whisper's codes that no data of ours speak; `haw` and `yue` have three letters already."""


@final
@dataclass(frozen=True, kw_only=True)
class WhisperWords:
    """Tokens of languages and tasks; none of a model that knows English alone."""

    languages: tuple[str, ...]
    """ISO 639-3."""
    tasks: tuple[str, ...]
    """`asr`, `st_eng`."""
    language_token_ids: Mapping[str, int]
    task_token_ids: Mapping[str, int]

    @classmethod
    def of(cls, generation_config: Any) -> WhisperWords:
        """Return the words of a model's generation config; none where it names none, as a bare config does."""
        known: dict[str, Any] = generation_config.to_dict()
        if known.get("is_multilingual") is False:
            return cls(languages=(_ONLY_ENGLISH,), tasks=("asr",), language_token_ids={}, task_token_ids={})
        languages = {iso639_3(token.strip("<|>")): int(i) for token, i in (known.get("lang_to_id") or {}).items()}
        tasks = {_TASKS[name]: int(i) for name, i in (known.get("task_to_id") or {}).items() if name in _TASKS}
        return cls(languages=tuple(languages), tasks=tuple(tasks), language_token_ids=languages, task_token_ids=tasks)

    def context(self, tokens: Iterable[int]) -> Context:
        """Return the language and the task that stand in a prompt, or in labels; unknown where they do not."""
        present = set(tokens)
        if not self.language_token_ids and not self.task_token_ids and self.languages:
            return Context(language=self.languages[0], task=self.tasks[0])
        return Context(
            language=next((name for name, token in self.language_token_ids.items() if token in present), None),
            task=next((name for name, token in self.task_token_ids.items() if token in present), None),
        )


def iso639_3(code: str) -> str:
    """Return the three letters of a language as Whisper writes it: `de`, `no`, `yue`, `German`, `<|de|>`."""
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    named = code.strip().strip("<|>").lower()
    short = TO_LANGUAGE_CODE.get(named, named)
    try:
        return _ELSEWHERE.get(short) or to_iso639_3(short)
    except SkipwiseError:
        return short


def task_name(task: str) -> str:
    """Return our name of a task as Whisper calls it: `transcribe` is `asr`."""
    return _TASKS.get(task, task)

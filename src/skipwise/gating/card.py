"""The model card of an adapter: what it is, how to use it, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from skipwise.gating.adapter import GateAdapter
from skipwise.gating.sites import STACKS

CARD_FILE = "README.md"


def model_card(adapter: GateAdapter) -> str:
    """Return the card in Markdown, with the header that the Hub reads."""
    config, base = adapter.config, adapter.base
    named = adapter.notes.get("base")
    header: dict[str, Any] = {"library_name": "skipwise", "tags": ["speech", "dynamic-pruning", base.family]}
    if isinstance(named, str) and named.count("/") == 1 and not named.startswith((".", "/", "~")):
        header["base_model"] = named
    budget = (
        f"any sparsity; {config.sparsity} where none is asked for"
        if adapter.is_elastic
        else f"a sparsity of {config.sparsity} in each gated stack"
    )
    gated = ", ".join(f"{len(sites)} in the {stack}" for stack in STACKS if (sites := adapter.sites(stack)))
    rows = {
        "base": f"{base.family} `{base.fingerprint}`" + (f", {named}" if named else ""),
        "gated sites": gated,
        **({} if config.default_scope is None else {"asked for no scope": f"prunes the {config.default_scope}"}),
        "budget": f"{budget}, counted in {config.unit}",
        "context": ", ".join(config.context) or "none",
        "decoder decides": "at every step" if config.granularity == "step" else "once an utterance",
        "predictor": type(config.predictor).__name__.removesuffix("PredictorConfig").lower(),
        "languages": ", ".join(base.languages),
        "tasks": ", ".join(base.tasks),
        "weights": f"{adapter.num_weights:,}" + (", and changes of the base (LoRA)" if adapter.lora else ""),
    }
    sparsity = ", sparsity=0.5" if adapter.is_elastic else ""
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False).strip(),
        "---",
        "",
        "# Gates for context-aware pruning",
        "",
        "These gates decide, for each input, which modules of a speech model run; the rest is skipped. They belong to",
        "one base, which they name by a hash of its weights, and refuse any other.",
        "",
        *_table(("", ""), rows),
        "",
        "```python",
        "from skipwise import Transcriber",
        "",
        f'transcriber = Transcriber("BASE", gates="THIS FOLDER"{sparsity})',
        f'print(transcriber.transcribe("speech.wav", language="{_first(base.languages)}").text)',
        "```",
        *_results(adapter.notes.get("results")),
    ]
    return "\n".join(lines) + "\n"


def _results(results: Any) -> list[str]:
    """What was measured when they were saved, if anything."""
    if not isinstance(results, Mapping) or not results:
        return []
    numbers = {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in results.items()}
    return ["", "## Results", "", *_table(("measured", ""), numbers)]


def _table(head: tuple[str, str], rows: Mapping[str, str]) -> list[str]:
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _first(languages: tuple[str, ...]) -> str:
    return languages[0] if languages else "eng"

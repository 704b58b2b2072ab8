"""The tables of README.md and docs/benchmarks.md from results/, so that no measured number there is typed by hand.

python benchmarks/readme_tables.py          # rewrites what stands between the markers
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "results" / "bench"
WHISPER = ROOT / "results" / "whisper"
SUMMARY = ROOT / "results" / "reference" / "summary.json"
CONDITIONS = ROOT / "results" / "reference" / "conditions.json"
BOTH = ROOT / "results" / "both"
CLAIMS = ROOT / "results" / "parliament" / "claims.json"
TASKS = {"asr": ("transcription", "wer", "WER %"), "st_eng": ("translation into English", "bleu", "BLEU")}
INPUTS = {"clips": "a sentence", "windows": "20 to 30 s"}
PEERS = {
    "transformers": "transformers",
    "ctranslate2 float32": "CTranslate2 float32",
    "ctranslate2 int8": "CTranslate2 int8",
}
PRUNED = {
    "fp16-packed, half of the decoder": "a token, `fp16-packed`, half of the decoder closed",
    "fp16-packed, transplanted asr": "a token, `fp16-packed`, as the shipped model prunes transcription",
    "fp16-packed, transplanted st_eng": "a token, `fp16-packed`, as it prunes translation",
}
SPLITS = {"test": "test", "test_unseen": "unseen patterns"}
GROUPS = {
    "all": "",
    "SNR 0 to 10 dB": ", 0 to 10 dB",
    "SNR 10 to 20 dB": ", 10 to 20 dB",
    "SNR 20 to 30 dB": ", 20 to 30 dB",
}
LANGUAGES = {"deu": "German", "fra": "French", "ita": "Italian"}

AT_LEAST: Mapping[str, tuple[str, str, Mapping[str, Sequence[float]]]] = {
    "fp32, a token, against ESPnet": ("fp32", "espnet, token", {"base": (3.3, 6.5), "medium": (9.0, 12.5)}),
    "fp16-packed, a token, against ESPnet": (
        "fp16-packed",
        "espnet, token",
        {"base": (9.0, 15.0), "medium": (23.0, 33.0)},
    ),
    "fp32, against keys and values once": ("fp32", "espnet once, token", {"base": (1.3, 1.8), "medium": (1.7, 2.5)}),
    "fp16-packed, against keys and values once": (
        "fp16-packed",
        "espnet once, token",
        {"base": (3.0, 4.0), "medium": (4.2, 6.0)},
    ),
}
"""What was to be reached against ESPnet, greedy and with beam 5: precision, ratio, and by shape."""
ENCODER_AT_LEAST = {"30 s, fp32": (1.3, 1.2), "10 s, fp32": (1.9, 1.5), "30 s, int8": (1.7, 2.0)}
"""The same for the encoder, at base and medium."""

Record = Mapping[str, Any]


def overview(summary: Record) -> str:
    """Return the table of the whole test set: one line a measure, dense beside pruned."""
    dense, pruned = summary["dense"], summary["pruned"]
    single = summary["time_ratios"]["single"]["all"]
    batched = summary["time_ratios"]["batched"]["all"]
    count = f"{dense['all']['utterances']:,} utterances and tasks of the held-out test set"
    lines = [f"| {count} | dense | pruned |", "|---|---|---|"]
    for task, (name, metric, unit) in TASKS.items():
        cells = [_with_interval(record["per_task"][task], metric) for record in (dense, pruned)]
        lines.append(f"| {name}, {unit} | {cells[0]} | {cells[1]} |")
    decoder = [f"{record['all']['sparsity']['decoder']:.1%}" for record in (dense, pruned)]
    lines.append(f"| decoder sites skipped | {decoder[0]} | {decoder[1]} |")
    modules = [record["all"]["modules"] for record in (dense, pruned)]
    lines.append(f"| modules run, of {modules[0]['all']} | {modules[0]['run']:.1f} | {modules[1]['run']:.1f} |")
    macs = pruned["all"]["macs"]
    lines.append(f"| decoder MACs, same tokens | 1 | {macs['decoder'] / macs['dense_decoder']:.2f} |")
    lines.append(f"| decoder time, one utterance at a time | 1 | {_ratio(single['decoder'])} |")
    lines.append(f"| whole time, one utterance at a time | 1 | {_ratio(single['total'])} |")
    lines.append(f"| decoder time, in batches | 1 | {_ratio(batched['decoder'])} |")
    return "\n".join(lines)


def per_language(summary: Record) -> str:
    """Return the table of every language and task, with 95 % intervals."""
    systems = [name for name in ("dense", "pruned", "dense-only") if name in summary]
    lines = [
        "| | " + " | ".join(systems) + " | pruned - dense | decoder sparsity |",
        "|---|" + "---|" * (len(systems) + 2),
    ]
    for task, (name, metric, unit) in TASKS.items():
        for code, language in LANGUAGES.items():
            groups = [summary[system]["per_language_task"][code][task] for system in systems]
            difference = summary["differences"]["per_language_task"][code][task][metric]
            cells = [_with_interval(group, metric) for group in groups]
            cells.append(_signed(difference))
            cells.append(f"{groups[1]['sparsity']['decoder']:.1%}")
            lines.append(f"| {language}, {name}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def budgets(conditions: Record, scope: str, groups: Mapping[str, str]) -> str:
    """Return the table of a scope's budgets: a line a split, group and task, a column a system and the dense ones."""
    rows = {(row["split"], row["group"], row["task"], row["system"]): row for row in conditions["scores"]}
    systems = [name for name in dict.fromkeys(key[3] for key in rows) if name.startswith(("dense", scope))]
    lines = ["| | " + " | ".join(systems) + " |", "|---|" + "---|" * len(systems)]
    for split, group, task in dict.fromkeys(key[:3] for key in rows):
        if group not in groups or (split != "test" and group != "all"):
            continue
        found = [rows[split, group, task, system] for system in systems]
        name, _, unit = TASKS[task]
        cells = []
        for row in found:
            low, high = row.get("difference_interval") or row["interval"]
            change = f"{row['difference']:+.1f}, {low:+.1f} to {high:+.1f}" if "difference" in row else ""
            cells.append(f"{row['value']:.1f} ({change or f'{low:.1f} to {high:.1f}'})")
        lines.append(f"| {SPLITS[split]}{groups[group]}, {name}, {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def system_table(conditions: Record, names: Mapping[str, str]) -> str:
    """Return the table of a whole split: a line a system, for each task its score and change from the better dense."""
    rows = {(row["system"], row["task"]): row for row in conditions["scores"] if row["group"] == "all"}
    lines = [
        "| | " + " | ".join(f"{unit} | change" for _, _, unit in TASKS.values()) + " |",
        "|---|" + "---|" * 2 * len(TASKS),
    ]
    for system in dict.fromkeys(name for name, _ in rows):
        cells = [names.get(system, system)]
        for task in TASKS:
            row = rows[system, task]
            cells.append(_between(row["value"], row["interval"]))
            cells.append(_between(row["difference"], row["difference_interval"], "+") if "difference" in row else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tradeoffs(found: Mapping[tuple[str, str], Record]) -> str:
    """Return the table of budgets on both stacks by input and task: what is closed, the time, and what it costs."""
    head = ["input and task", "asked", "closed of encoder, decoder", "whole time", "WER %, BLEU", "change"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (kind, task), record in found.items():
        name, metric, unit = TASKS[task]
        for point in record["points"]:
            score = f"{point['evaluation']['all'][metric]:.1f}"
            if point["sparsity"] is None:
                lines.append(f"| {kind}, {name}, {unit} | dense | | 1 | {score} | |")
                continue
            closed = ", ".join(f"{point['achieved'][stack]:.0%}" for stack in ("encoder", "decoder"))
            time = _ratio({"median": point["time_ratio"], "interval": point["time_ratio_interval"]})
            change = _signed(point["differences"]["all"][metric])
            lines.append(f"| | {point['sparsity']:.0%} | {closed} | {time} | {score} | {change} |")
    return "\n".join(lines)


def claims(found: Sequence[Record]) -> str:
    """Return the table of claims: a line a claim, with the first measurement that its verdict comes from."""
    lines = ["| | claim | verdict | by | |", "|---|---|---|---|---|"]
    for claim in found:
        deciding = next(part for part in claim["parts"] if part["verdict"] == claim["verdict"])
        line = [claim["number"], claim["text"], f"**{claim['verdict']}**", deciding["says"], _estimate(deciding)]
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def claims_in_full(found: Sequence[Record]) -> str:
    """Return the table of claims with every part."""
    lines = ["| | measured | value (95 % interval) | verdict |", "|---|---|---|---|"]
    for claim in found:
        lines.append(f"| **{claim['number']}** | **{claim['text']}** | | **{claim['verdict']}** |")
        for part in claim["parts"]:
            says = part["says"] if part["estimate"] else f"{part['says']} (needs {part['needs']})"
            lines.append(f"| | {says} | {_estimate(part)} | {part['verdict']} |")
    return "\n".join(lines)


def _estimate(part: Record) -> str:
    if part["estimate"] is None:
        return "not measured"
    interval = part["estimate"]["interval"]
    told = f" ({interval['low']:.1f} to {interval['high']:.1f})" if interval else ""
    return f"{part['estimate']['value']:.1f}{told}{part['unit']}"


def speed() -> str:
    """Return the table of times against ESPnet: a column a shape, for what has been measured."""
    records = {
        shape: _bench(shape, "espnet")
        for shape in ("base", "small", "medium")
        if (BENCH / shape / "espnet.json").exists()
    }
    columns = [(shape, beam) for shape, record in records.items() for beam in record["settings"]["beam_sizes"]]
    heads = [f"{shape}, {'greedy' if beam == 1 else f'beam {beam}'}" for shape, beam in columns]
    lines = ["| times as fast as ESPnet 202511 | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    audio = max(next(iter(records.values()))["by_audio"], key=lambda name: int(name.split()[0]))
    for dtype in ("fp32", "fp16-packed", "int8"):
        for peer, name in (("espnet", ""), ("espnet once", ", against keys and values projected once")):
            cells = [
                _times(records[shape]["by_audio"][audio]["ratios"][f"{dtype}, beam {beam}"][f"{peer}, token"])
                for shape, beam in columns
            ]
            lines.append(f"| a token, `{dtype}`{name} | " + " | ".join(cells) + " |")
    for system, name in PRUNED.items():
        found = [records[shape]["by_audio"][audio]["ratios"].get(f"{system}, beam {beam}") for shape, beam in columns]
        cells = [_times(ratios["espnet, token"]) if ratios else "" for ratios in found]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for audio_s in (10, 30):
        for dtype in ("fp32", "int8"):
            cells = [
                _times(records[shape]["by_audio"][f"{audio_s} s"]["ratios"][f"{dtype}, encoder"]["espnet"])
                if beam == 1 and f"{audio_s} s" in records[shape]["by_audio"]
                else ""
                for shape, beam in columns
            ]
            lines.append(f"| the encoder, {audio_s} s of speech, `{dtype}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def against_espnet() -> str:
    """Return the table of what was to be reached against ESPnet, with 30 s of speech; bold is short of it."""
    records = {shape: _bench(shape, "espnet")["by_audio"] for shape in ("base", "medium")}
    lines = ["| at least | base, greedy | base, beam 5 | medium, greedy | medium, beam 5 |", "|---|---|---|---|---|"]
    for name, (dtype, ratio, wanted) in AT_LEAST.items():
        cells = [
            _reached(records[shape]["30 s"]["ratios"][f"{dtype}, beam {beam}"][ratio]["median"], least)
            for shape in records
            for beam, least in zip((1, 5), wanted[shape], strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, wanted in ENCODER_AT_LEAST.items():
        audio, dtype = name.split(", ")
        cells = [
            _reached(records[shape][audio]["ratios"][f"{dtype}, encoder"]["espnet"]["median"], least)
            for shape, least in zip(records, wanted, strict=True)
        ]
        lines.append(f"| the encoder, {name} | {cells[0]} | | {cells[1]} | |")
    return "\n".join(lines)


def engine_alone() -> str:
    """Return the table of what was to be reached by the engine beside itself; bold is short of it."""
    curves = {shape: _bench(shape, "sparsity") for shape in ("base", "medium")}
    decoders = {shape: record["curves"]["decoder"] for shape, record in curves.items()}
    open_us = curves["base"]["open_site_us"]["decoder"]
    planner, batch, generate = _bench("base", "planner"), _bench("base", "batch"), _bench("reference", "generate")
    rows = [
        (
            "half of the decoder closed, base: time cut / ideal cut",
            _point(decoders["base"], 0.5)["cut_over_ideal"],
            0.9,
        ),
        ("the same, medium", _point(decoders["medium"], 0.5)["cut_over_ideal"], 0.9),
        (
            "plans of its own in a batch of 16, base: throughput of one plan",
            batch["mixed_over_uniform_throughput"]["median"],
            0.85,
        ),
        (
            "shipped model, one utterance: half closed, times as fast as dense",
            generate["dense_over_pruned"]["median"],
            1.0,
        ),
        ("shipped model, a token: times as fast as `generate()`", generate["generate_over_dense"]["median"], 4.0),
    ]
    lines = ["| | reached | at least |", "|---|---|---|"]
    for name, value, least in rows:
        lines.append(f"| {name} | {_marked(f'{value:.2f}', value >= least)} | {least:g} |")
    shares = [
        (
            "every site of the decoder closed, base: rest of the dense step",
            _point(decoders["base"], 1.0)["time"]["median"],
            0.30,
        ),
        ("the same, medium, fp32", _point(decoders["medium"], 1.0)["time"]["median"], 0.08),
        ("a closed site of an open one, base", curves["base"]["closed_site_us"] / open_us, 0.02),
        ("deciding both plans, base, of the dense time", planner["plan_over_dense"]["median"], 0.01),
        ("deciding every step's plans, base, of a dense step", planner["steps_over_dense"]["median"] - 1, 0.02),
    ]
    lines += ["| | **reached** | **at most** |"]
    for name, value, most in shares:
        lines.append(f"| {name} | {_marked(f'{value:.1%}', value <= most)} | {most:.0%} |")
    return "\n".join(lines)


def _bench(shape: str, name: str) -> Record:
    return json.loads((BENCH / shape / f"{name}.json").read_text(encoding="utf-8"))


def _point(curve: Sequence[Record], share: float) -> Record:
    return next(point for point in curve if point["asked"] == share)


def _reached(value: float, least: float) -> str:
    return f"{_marked(f'{value:.1f}', value >= least)} ({least:g})"


def _marked(text: str, is_reached: bool) -> str:
    return text if is_reached else f"**{text}**"


def whisper() -> str:
    """Return the table of times against Whisper's other engines: dense, and with half of the decoder closed."""
    records = {
        shape: json.loads(path.read_text(encoding="utf-8"))
        for shape in ("base", "small")
        if (path := WHISPER / shape / "whisper.json").exists()
    }
    columns = [(shape, beam) for shape, record in records.items() for beam in record["settings"]["beam_sizes"]]
    heads = [f"{shape}, {'greedy' if beam == 1 else f'beam {beam}'}" for shape, beam in columns]
    lines = [
        "| times as fast, a token: dense / half closed | " + " | ".join(heads) + " |",
        "|---|" + "---|" * len(heads),
    ]
    for peer, name in PEERS.items():
        for dtype in ("fp32", "fp16-packed", "int8"):
            if ("int8" in peer) != (dtype == "int8"):
                continue
            cells = []
            for shape, beam in columns:
                ratios = records[shape]["token_ratios"][f"{peer}, beam {beam}"]
                dense, half = (
                    ratios[f"skipwise {dtype}{how}"]["median"] for how in ("", ", half of the decoder closed")
                )
                cells.append(f"{dense:.2f} / {half:.2f}")
            lines.append(f"| `{dtype}` against {name} | " + " | ".join(cells) + " |")
    for peer, name in PEERS.items():
        dtype = "int8" if "int8" in peer else "fp32"
        cells = [
            f"{records[shape]['encoder_ratios'][f'{peer}, encoder'][f'skipwise {dtype}']['median']:.2f}"
            if beam == 1
            else ""
            for shape, beam in columns
        ]
        lines.append(f"| the encoder, `{dtype}` against {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _times(ratio: Record) -> str:
    return f"{ratio['median']:.1f} ({ratio['low']:.1f}-{ratio['high']:.1f})"


def _with_interval(group: Record, metric: str) -> str:
    return _between(group[metric], group[f"{metric}_interval"])


def _signed(difference: Record) -> str:
    return _between(difference["absolute"], difference["absolute_interval"], "+")


def _between(value: float, interval: Sequence[float], sign: str = "") -> str:
    low, high = interval
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _ratio(ratio: Record) -> str:
    low, high = ratio["interval"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Rewrite what stands between the markers."""
    summary = json.loads(SUMMARY.read_text(encoding="utf-8"))
    conditions = json.loads(CONDITIONS.read_text(encoding="utf-8"))
    readme = {
        "overview": overview(summary),
        "speed": speed(),
        "whisper": whisper(),
        "per-language": per_language(summary),
        "budgets": budgets(conditions, "decoder", GROUPS),
        "budgets-of-both": budgets(conditions, "both", {"all": ""}),
    }
    said = json.loads(CLAIMS.read_text(encoding="utf-8"))
    _rewrite(ROOT / "README.md", readme | {"claims": claims(said)})
    both = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in BOTH.glob("*.json")}
    study = {
        "claims-in-full": claims_in_full(said),
        "both-stacks": system_table(both["conditions"], {"dense-only": "the shipped model, dense"}),
        "both-time": tradeoffs(
            {(kind, task): both[f"{file}_{task}"] for file, kind in INPUTS.items() for task in TASKS}
        ),
    }
    _rewrite(ROOT / "docs" / "study.md", study)
    _rewrite(ROOT / "docs" / "benchmarks.md", {"against-espnet": against_espnet(), "engine-alone": engine_alone()})


def _rewrite(path: Path, tables: Mapping[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: made by benchmarks/readme_tables.py -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        assert pattern.search(text), f"{path.name} lacks the markers of {name}"
        text = pattern.sub(lambda _, block=f"{begin}\n{table}\n{end}": block, text)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

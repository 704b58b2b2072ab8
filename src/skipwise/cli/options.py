"""Options that several commands share, each with its one help text. ESPnet's name stands in brackets."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Model folder or Hub name [default: the base that --gates names; else shipped]."
    ),
]
Gates = Annotated[
    str, typer.Option("--gates", help="auto: those beside the model; none: skip nothing; or an adapter's folder.")
]
Sparsity = Annotated[
    float | None,
    typer.Option("--sparsity", help="Share of the gated modules to skip, in [0, 1), if the gates follow a budget."),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Skip that share to within a module, whatever the gates were trained for.")
]
Scope = Annotated[
    Literal["encoder", "decoder", "both"] | None,
    typer.Option(
        "--scope",
        help="Stacks to prune, of those with gates; the other runs whole [default: what the gates prune by default].",
    ),
]
Unit = Annotated[
    Literal["sites", "macs", "ms"] | None,
    typer.Option("--unit", help="What that share counts [default: what the gates were trained to count]."),
]
CostTable = Annotated[
    Path | None, typer.Option("--cost-table", help="What each module costs here, as `skipwise bench cost` writes it.")
]
Speedup = Annotated[
    float | None,
    typer.Option("--speedup", help="Instead of --sparsity: times as fast as dense, by the --cost-table."),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...")]
Dtype = Annotated[
    Literal["auto", "fp32", "fp16-packed", "int8", "bf16"],
    typer.Option("--dtype", help="Precision; auto: the fastest here that leaves the texts as they are."),
]

Method = Annotated[
    Literal["attention", "ctc"],
    typer.Option("--method", help="attention: beam search; ctc: the CTC head's best path."),
]
BeamSize = Annotated[
    int, typer.Option("--beam-size", "-b", min=1, help="Hypotheses followed at once; 1 is greedy [beam_size].")
]
Nbest = Annotated[int, typer.Option("--nbest", min=1, help="Hypotheses returned, best first; see --json [nbest].")]
CtcWeight = Annotated[
    float, typer.Option("--ctc-weight", help="Share of the CTC head in the score, in [0, 1) [ctc_weight].")
]
CtcSkipsPrompt = Annotated[
    bool, typer.Option("--ctc-skips-prompt", help="Do not count the prompt as output of the CTC head, as ESPnet does.")
]
MaxLengthRatio = Annotated[
    float | None,
    typer.Option(
        "--max-length-ratio",
        help="Most tokens per encoder frame; 0: end detection; -n: n [maxlenratio; default: 0.4, unpadded windows 1].",
    ),
]
MinLengthRatio = Annotated[
    float, typer.Option("--min-length-ratio", help="Fewest tokens per encoder frame; -n: n [minlenratio].")
]
LengthBonus = Annotated[float, typer.Option("--length-bonus", help="Added to the score for each token [penalty].")]
NormalizeLength = Annotated[
    bool, typer.Option("--normalize-length", help="Order hypotheses by score per token [normalize_length].")
]
LongForm = Annotated[
    Literal["quiet", "timestamps"],
    typer.Option("--long-form", help="Cut long audio at quiet points, or by --timestamps [decode_long]."),
]
ConditionOnPrevious = Annotated[
    bool,
    typer.Option(
        "--condition-on-previous", help="Tell each window the text of the one before [condition_on_prev_text]."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave bad lines of the data out, and list them, instead of stopping at one.")
]

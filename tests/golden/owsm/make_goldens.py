"""Writes the OWSM golden files of this folder with ESPnet 202511's own code.

For each of two tiny shapes, `v3_tiny` (OWSM v3.1 anatomy) and `v4_tiny` (OWSM v4 anatomy), one `.safetensors` with weights, inputs and
what ESPnet computes from them, and one `.json` with the configuration, the token list, the versions and notes. README.md lists the names.

ESPnet is not a dependency of skipwise. It gets a virtual environment of its own, which may borrow torch, numpy, safetensors, sentencepiece,
soundfile, scipy and pyyaml from skipwise's through a `.pth` file. From the repository root, with `E` a new folder outside it:

    python3.11 -m venv $E
    echo $PWD/.venv/lib/python3.11/site-packages > $E/lib/python3.11/site-packages/shared.pth
    $E/bin/pip install --no-deps espnet==202511
    $E/bin/pip install configargparse typeguard humanfriendly librosa jamo h5py kaldiio torch_complex nltk hydra-core opt-einsum editdistance \
        einops unidecode inflect more_itertools jaconv distance pypinyin==0.44.0 jaraco.functools
    $E/bin/pip install --no-deps espnet_model_zoo g2p_en ci_sdr espnet_tts_frontend fast-bss-eval asteroid_filterbanks
    mkdir -p $E/lib/python3.11/site-packages/torchaudio/compliance     # imported, not used: empty files are enough
    (cd $E/lib/python3.11/site-packages/torchaudio && touch __init__.py functional.py transforms.py compliance/{__init__,kaldi}.py)
    OMP_NUM_THREADS=1 $E/bin/python tests/golden/owsm/make_goldens.py

The import of ESPnet takes about 20 s and prints failed nltk downloads where there is no network; both are harmless.

Shape suffixes: N samples, T encoder frames, F feature frames, M mels, D model width, L tokens, V vocabulary, B rows.
"""

import argparse
import copy
import json
import math
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.asr.frontend.default import DefaultFrontend
from espnet2.s2t.espnet_model import ESPnetS2TModel
from espnet2.tasks.s2t import S2TTask
from safetensors.torch import save_file
from torch import Tensor

FOLDER = Path(__file__).parent
SEED = 202511
SAMPLE_RATE = 16000
WINDOW_SAMPLES = 30 * SAMPLE_RATE
ROW_SAMPLES = (11200, 30917, 49600)  # 0.7 s, 1.93 s (not a multiple of the hop), 3.1 s
PADDED_SAMPLES = 17777  # 1.11 s of real samples in a 30 s window
PAIR_SAMPLES = 16000  # the rows of a loss over two rows are cut to this length
STATS_FILE = "feats_stats.npz"

WORDS = "▁a ▁be ▁co ▁da ▁e ▁fi ▁go ▁ha ▁i ▁ja ▁ko ▁la ▁mi ▁no ▁o ▁pa ▁qui ▁re ▁su ▁te"
SUFFIXES = "s t n en er ung tion ment ci ra ne lo ta di u . , ' ?"
TOKENS = (
    *("<blank>", "<unk>", "<na>", "<nospeech>"),
    *("<deu>", "<eng>", "<fra>", "<ita>", "<asr>", "<st_eng>", "<notimestamps>"),
    *("<0.00>", "<0.02>", "<0.04>", "<0.06>", "<0.08>", "<0.10>", "<30.00>"),
    *WORDS.split(),
    *SUFFIXES.split(),
    *("<sos>", "<eos>", "<sop>"),
)
FIRST_PIECE, END_OF_PIECES = TOKENS.index("▁a"), TOKENS.index("<sos>")

SHAPES: dict[str, dict[str, Any]] = {
    "v3_tiny": {
        "d": 32, "heads": 4, "blocks": (2, 3), "linear_units": 64, "cgmlp_linear_units": 96,
        "cgmlp_conv_kernel": 31, "merge_conv_kernel": 31, "input_layer": "conv2d", "n_mels": 80,
    },
    "v4_tiny": {
        "d": 24, "heads": 3, "blocks": (3, 2), "linear_units": 48, "cgmlp_linear_units": 80,
        "cgmlp_conv_kernel": 15, "merge_conv_kernel": 31, "input_layer": "conv2d8", "n_mels": 128,
    },
}  # fmt: skip

LOSS_NOTES = {
    "total": "ctc_weight * ctc + (1 - ctc_weight) * att, with ctc_weight 0.3",
    "ctc": "torch CTCLoss(blank=0, reduction='none', zero_infinity=True) on log_softmax(ctc_lo(encoder_out)): sum over the rows, divided "
    "by the number of rows; not divided by target or input length. Rows whose text_ctc holds <na> are removed first and not counted; if "
    "no row is left, ctc is 0 and total is 0.7 * att.",
    "att": "label smoothing as a KL divergence, V = vocabulary: target distribution q = 0.9 on the label and 0.1 / (V - 1) on each other "
    "token; per position sum_v q_v * (log q_v - log p_v), so the entropy of q is subtracted from the cross-entropy (p = q gives 0); sum "
    "over scored positions, divided by the number of rows (length_normalized_loss false), not by tokens.",
    "scored_positions": "Decoder input [<sos>] + text, labels text + [<eos>]: the language, the task and <notimestamps> (or the first "
    "timestamp) are labels and are scored, and so is <eos>. With previous text the input is [<sop>] + prev + [<sos>] + text; the labels "
    "of the <sop> and prev positions (len(prev) + 1 of them; the last of these would have to predict <sos>) are ignored; the position of "
    "<sos> is scored (its label is the language). A row whose text_prev holds <na> has no such prefix.",
    "padding": "Shorter rows: decoder input padded with <eos>, labels with -1 (ignored). Input texts are padded with -1.",
}


def token_ids(*names: str) -> list[int]:
    return [TOKENS.index(name) for name in names]


def random_pieces(count: int, generator: torch.Generator) -> list[int]:
    """Ids of `count` different ordinary pieces."""
    order = torch.randperm(END_OF_PIECES - FIRST_PIECE, generator=generator)
    return [FIRST_PIECE + int(i) for i in order[:count]]


def speech_like(num_samples: int, seed: int) -> Tensor:
    """[N] float32: twelve harmonics of a wandering pitch under a syllable-like envelope, and noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(num_samples)
    knots = np.arange(0, num_samples + 1600, 1600)
    pitch_hz = np.interp(t, knots, rng.uniform(90, 220, len(knots)))
    envelope = np.interp(t, knots, rng.uniform(0, 1, len(knots)) ** 2)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    voiced = sum(np.sin(k * phase + k) / k for k in range(1, 13))
    wave = 0.15 * envelope * voiced + 0.004 * rng.standard_normal(num_samples)
    return torch.from_numpy(wave.astype(np.float32))


def espnet_config(shape: dict[str, Any], stats_file: str) -> dict[str, Any]:
    """Keyword arguments of `S2TTask.build_model`: those of OWSM's recipe, at the given shape."""
    encoder_blocks, decoder_blocks = shape["blocks"]
    return {
        "token_list": list(TOKENS),
        "input_size": None,
        "init": None,
        "frontend": "default",
        "frontend_conf": {"n_fft": 512, "win_length": 400, "hop_length": 160, "fs": "16k", "n_mels": shape["n_mels"]},
        "specaug": "specaug",
        "specaug_conf": {
            "apply_time_warp": False, "time_warp_window": 5, "time_warp_mode": "bicubic",
            "apply_freq_mask": True, "freq_mask_width_range": [0, 27], "num_freq_mask": 2,
            "apply_time_mask": True, "time_mask_width_ratio_range": [0.0, 0.05], "num_time_mask": 10,
        },
        "normalize": "global_mvn",
        "normalize_conf": {"stats_file": stats_file},
        "encoder": "e_branchformer",
        "encoder_conf": {
            "output_size": shape["d"], "attention_heads": shape["heads"], "attention_layer_type": "selfattn",
            "pos_enc_layer_type": "abs_pos", "rel_pos_type": "latest", "cgmlp_linear_units": shape["cgmlp_linear_units"],
            "cgmlp_conv_kernel": shape["cgmlp_conv_kernel"], "use_linear_after_conv": False, "gate_activation": "identity",
            "num_blocks": encoder_blocks, "dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.1,
            "input_layer": shape["input_layer"], "layer_drop_rate": 0.0, "linear_units": shape["linear_units"],
            "positionwise_layer_type": "linear", "use_ffn": True, "macaron_ffn": True,
            "merge_conv_kernel": shape["merge_conv_kernel"], "qk_norm": False, "use_flash_attn": False,
        },
        "decoder": "transformer",
        "decoder_conf": {
            "attention_heads": shape["heads"], "linear_units": shape["linear_units"], "num_blocks": decoder_blocks,
            "dropout_rate": 0.1, "positional_dropout_rate": 0.1, "self_attention_dropout_rate": 0.1,
            "src_attention_dropout_rate": 0.1, "use_flash_attn": False,
        },
        "ctc_conf": {},
        "model": "espnet",
        "model_conf": {
            "ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False, "sym_na": "<na>",
            "report_cer": False, "report_wer": False,
        },
    }  # fmt: skip


def feature_stats(waveforms: list[Tensor], config: dict[str, Any]) -> dict[str, np.ndarray]:
    """`count`, `sum`, `sum_square` of the raw features, summed in float32 as ESPnet's collect_stats does."""
    frontend = DefaultFrontend(**config["frontend_conf"])
    features = [frontend(wave[None], torch.tensor([len(wave)]))[0][0].numpy() for wave in waveforms]
    return {
        "count": np.asarray(sum(len(f) for f in features)),
        "sum": sum(f.sum(0) for f in features),
        "sum_square": sum((f**2).sum(0) for f in features),
    }


def randomise(model: ESPnetS2TModel, generator: torch.Generator) -> None:
    """Overwrites every parameter so that each one shows in the outputs: no zero bias, no unit norm, no flat attention."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 0.3 * noise + (1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif name == "decoder.embed.0.weight":
            value = noise
        else:  # keeps the scale of the input; sharper attention and less even outputs than torch's default
            fan_in = parameter[0].numel()
            gain = 2.0 if ("linear_q" in name or "output_layer" in name or "ctc_lo" in name) else 1.2
            value = noise * gain / math.sqrt(fan_in)
        parameter.data.copy_(value)


def build(config: dict[str, Any], stats: dict[str, np.ndarray], generator: torch.Generator) -> ESPnetS2TModel:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / STATS_FILE)
        np.savez(path, **stats)
        model = S2TTask.build_model(argparse.Namespace(**{**config, "normalize_conf": {"stats_file": path}}))
    randomise(model, generator)
    return model.eval()


def conv_embedding_of(model: ESPnetS2TModel, speech_1N: Tensor, length: Tensor) -> Tensor:
    """[T, D], what leaves the linear layer of `encoder.embed`: before the sqrt(d) scaling and the positions."""
    embed = model.encoder.embed
    linear = embed.out if isinstance(embed.out, torch.nn.Linear) else embed.out[0]
    captured: list[Tensor] = []
    handle = linear.register_forward_hook(lambda module, inputs, output: captured.append(output.clone()))
    try:
        model.encode(speech_1N, length)
    finally:
        handle.remove()
    return captured[0][0]


def decoder_log_probs(model: ESPnetS2TModel, encoder_out_1TD: Tensor, decoder_input: list[int]) -> Tensor:
    """[L, V], teacher-forced."""
    lengths = torch.tensor([encoder_out_1TD.shape[1]])
    logits, _ = model.decoder(
        encoder_out_1TD, lengths, torch.tensor([decoder_input]), torch.tensor([len(decoder_input)])
    )
    return torch.log_softmax(logits[0], dim=-1)


def run_alone(model: ESPnetS2TModel, wave_N: Tensor, decoder_input: list[int]) -> dict[str, Tensor]:
    """Everything ESPnet computes from one waveform in a batch of one."""
    speech_1N, length = wave_N[None], torch.tensor([len(wave_N)])
    raw_1FM, num_frames = model._extract_feats(speech_1N, length)
    features_1FM, _ = model.normalize(raw_1FM.clone(), num_frames)  # in place, hence the clone
    encoder_out_1TD, _ = model.encode(speech_1N, length)
    return {
        "raw_features": raw_1FM[0],
        "features": features_1FM[0],
        "conv_embedding": conv_embedding_of(model, speech_1N, length),
        "encoder_out": encoder_out_1TD[0],
        "ctc_log_probs": model.ctc.log_softmax(encoder_out_1TD)[0],
        "decoder_log_probs": decoder_log_probs(model, encoder_out_1TD, decoder_input),
    }


def padded_batch(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids [B, L] padded with -1 as ESPnet's collate function does, and their lengths."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), -1)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, lengths


def run_loss(model: ESPnetS2TModel, speech_BN: Tensor, texts: dict[str, list[list[int]]]) -> dict[str, Tensor]:
    """`ESPnetS2TModel.forward` on rows of equal length, with the texts that went in."""
    batch: dict[str, Tensor] = {}
    for name, rows in texts.items():
        batch[name], batch[f"{name}_lengths"] = padded_batch(rows)
    inputs = {name: ids.clone() for name, ids in batch.items()}  # forward writes into `text`
    total, stats, _ = model(speech=speech_BN, speech_lengths=torch.full((len(speech_BN),), speech_BN.shape[1]), **batch)
    return {
        **inputs,
        "total": total.reshape(1),
        "ctc": stats["loss_ctc"].reshape(1),
        "att": stats["loss_att"].reshape(1),
    }


def decoder_inputs(generator: torch.Generator) -> dict[str, list[int]]:
    """The prompt and some pieces for each row; the padded one with previous text and timestamps."""
    return {
        "row0": token_ids("<sos>", "<deu>", "<asr>", "<notimestamps>") + random_pieces(6, generator),
        "row1": token_ids("<sos>", "<fra>", "<st_eng>", "<notimestamps>") + random_pieces(9, generator),
        "row2": token_ids("<sos>", "<ita>", "<asr>", "<notimestamps>") + random_pieces(12, generator),
        "padded": token_ids("<sop>") + random_pieces(4, generator) + token_ids("<sos>", "<eng>", "<asr>", "<0.00>")
        + random_pieces(7, generator) + token_ids("<0.10>"),
    }  # fmt: skip


def loss_cases(
    row_waves: list[Tensor], generator: torch.Generator
) -> dict[str, tuple[list[int], Tensor, dict[str, list[list[int]]]]]:
    """For each loss: the rows it runs on, their speech [B, N], and the three texts."""
    na = token_ids("<na>")
    first = token_ids("<fra>", "<asr>", "<notimestamps>") + random_pieces(7, generator)
    first_ctc, first_prev = first[3:], random_pieces(5, generator)
    second = token_ids("<ita>", "<st_eng>", "<0.00>") + random_pieces(4, generator) + token_ids("<0.08>")
    pair = torch.stack([row_waves[1][:PAIR_SAMPLES], row_waves[2][:PAIR_SAMPLES]])
    alone = row_waves[1][None]
    pair_ctc = [random_pieces(5, generator), random_pieces(3, generator)]
    return {
        "loss": ([1], alone, {"text": [first], "text_prev": [na], "text_ctc": [first_ctc]}),
        "loss_prev": ([1], alone, {"text": [first], "text_prev": [first_prev], "text_ctc": [first_ctc]}),
        "loss2": ([1, 2], pair, {"text": [first, second], "text_prev": [na, first_prev[:3]], "text_ctc": pair_ctc}),
        "loss2_na": ([1, 2], pair, {"text": [first, second], "text_prev": [na, na], "text_ctc": [na, pair_ctc[1]]}),
    }


def padded_tensors(model: ESPnetS2TModel, wave_N: Tensor, decoder_input: list[int]) -> dict[str, Tensor]:
    """The row in OWSM's 30 s window, where ESPnet is told that all 480,000 samples are speech; some encoder frames only."""
    window_N = torch.zeros(WINDOW_SAMPLES)
    window_N[: len(wave_N)] = wave_N
    encoder_out_1TD, lengths = model.encode(window_N[None], torch.tensor([WINDOW_SAMPLES]))
    num_frames = encoder_out_1TD.shape[1]
    assert int(lengths[0]) == num_frames
    frames = sorted({*range(40), *range(0, num_frames, 8), *range(num_frames - 8, num_frames)})
    return {
        "waveform": wave_N,
        "num_frames": torch.tensor([num_frames]),
        "frames": torch.tensor(frames),
        "encoder_out": encoder_out_1TD[0, frames],
        "decoder_input": torch.tensor(decoder_input),
        "decoder_log_probs": decoder_log_probs(model, encoder_out_1TD, decoder_input),
    }


def float32_noise(model: ESPnetS2TModel, wave_N: Tensor, decoder_input: list[int]) -> dict[str, float]:
    """Largest difference of each output between ESPnet in float32 and in float64 (its STFT is float32 in both)."""
    single = run_alone(model, wave_N, decoder_input)
    double = run_alone(copy.deepcopy(model).double(), wave_N.double(), decoder_input)
    return {name: float((single[name] - double[name]).abs().max()) for name in single}


def parameter_effects(model: ESPnetS2TModel, wave_N: Tensor, decoder_input: list[int]) -> dict[str, float]:
    """For each parameter, how far the log-probabilities move when its values are shifted by one place (swapped with their neighbours)."""

    def outputs() -> Tensor:
        encoder_out_1TD, _ = model.encode(wave_N[None], torch.tensor([len(wave_N)]))
        ctc = model.ctc.log_softmax(encoder_out_1TD)[0]
        return torch.cat([ctc.flatten(), decoder_log_probs(model, encoder_out_1TD, decoder_input).flatten()])

    reference, effects = outputs(), {}
    for name, parameter in model.named_parameters():
        kept = parameter.data
        parameter.data = kept.flatten().roll(1).view_as(kept)
        effects[name] = float((outputs() - reference).abs().max())
        parameter.data = kept
    return effects


def make_golden(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the notes of one shape."""
    generator = torch.Generator().manual_seed(SEED)
    row_waves = [speech_like(n, SEED + i) for i, n in enumerate(ROW_SAMPLES)]
    padded_wave = speech_like(PADDED_SAMPLES, SEED + len(ROW_SAMPLES))
    config = espnet_config(SHAPES[name], STATS_FILE)
    stats = feature_stats([*row_waves, padded_wave], config)
    model = build(config, stats, generator)
    prompts = decoder_inputs(generator)

    groups: dict[str, dict[str, Tensor]] = {
        "stats": {key: torch.from_numpy(np.atleast_1d(value)) for key, value in stats.items()}
    }
    for i, wave_N in enumerate(row_waves):
        prompt = prompts[f"row{i}"]
        groups[f"row{i}"] = {
            "waveform": wave_N,
            "decoder_input": torch.tensor(prompt),
            **run_alone(model, wave_N, prompt),
        }
    del groups["row2"]["raw_features"]  # for the size of the file; its `features` are there
    groups["padded"] = padded_tensors(model, padded_wave, prompts["padded"])
    for case, (rows, speech_BN, texts) in loss_cases(row_waves, generator).items():
        origin = {"rows": torch.tensor(rows), "num_samples": torch.tensor([speech_BN.shape[1]])}
        groups[case] = {**origin, **run_loss(model, speech_BN, texts)}
    groups["state"] = model.state_dict()  # last: GlobalMVN turns its buffers into float32 in its first call

    tensors = {f"{group}.{key}": value for group, members in groups.items() for key, value in members.items()}
    tensors = {
        key: (value.float() if value.is_floating_point() else value).contiguous() for key, value in tensors.items()
    }
    effects = parameter_effects(model, row_waves[1], prompts["row1"])
    without_effect = {
        key for key in effects if key.endswith("linear_k.bias")
    }  # softmax does not see a constant over the keys
    weakest = min(effects.keys() - without_effect, key=effects.__getitem__)
    assert effects[weakest] > 0.01, (weakest, effects[weakest])
    notes = {
        "config": {key: value for key, value in config.items() if key != "token_list"},
        "token_list": config["token_list"],
        "versions": {
            "python": platform.python_version(),
            **{p: version(p) for p in ("espnet", "torch", "numpy", "librosa")},
        },
        "seed": SEED,
        "loss_notes": LOSS_NOTES,
        "float32_noise": float32_noise(model, row_waves[1], prompts["row1"]),
        "weakest_parameter": {"name": weakest, "effect_on_log_probs": effects[weakest]},
        "parameters_without_effect": "linear_k.bias, in every attention (a constant over the keys)",
    }
    return tensors, notes


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    for name in SHAPES:
        tensors, notes = make_golden(name)
        save_file(tensors, FOLDER / f"{name}.safetensors")
        (FOLDER / f"{name}.json").write_text(json.dumps(notes, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        size = (FOLDER / f"{name}.safetensors").stat().st_size
        print(
            name,
            f"{size / 1e6:.3f} MB",
            {key: notes[key] for key in ("versions", "float32_noise", "weakest_parameter")},
        )


if __name__ == "__main__":
    main()

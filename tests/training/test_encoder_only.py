"""Gates on encoder-only models, trained by transformers' Trainer: the budget is followed, and training helps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import ParakeetForCTC, Trainer, TrainingArguments

from skipwise import Context, SkipwiseError, attach, detach
from skipwise.models.ctc.recordings import ctc_network_of, recordings
from skipwise.training.encoder_only import GatedCtcModel, train_gates
from tests.models.ctc.test_ctc import HOP, NUM_MEL_BINS, build

STEPS = 150
NUM_LABELS = 6
ELASTIC = {"sparsity_range": [0.1, 0.9], "learning_rate": 1e-2}


def example(seed: int, *, features: bool) -> dict[str, Tensor]:
    """A melody of a few tones, whose names are its labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(1, NUM_LABELS + 1, (int(torch.randint(2, 5, (), generator=generator)),), generator=generator)
    samples = torch.cat([torch.sin(torch.arange(1000) * 0.12 * int(label)) for label in labels])
    samples += 0.1 * torch.randn(len(samples), generator=generator)
    if not features:
        return {"input_values": samples, "labels": labels}
    basis = torch.randn(HOP, NUM_MEL_BINS, generator=torch.Generator().manual_seed(9))
    return {"input_features": samples.unfold(0, HOP, HOP).matmul(basis).abs().log1p(), "labels": labels}


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    name = "input_features" if "input_features" in rows[0] else "input_values"
    lengths = torch.tensor([len(row[name]) for row in rows])
    padded = nn.utils.rnn.pad_sequence([row[name] for row in rows], batch_first=True)
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
    labels = nn.utils.rnn.pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=-100)
    return {name: padded, "attention_mask": mask, "labels": labels}


def trained(training: GatedCtcModel, folder: Path, *, features: bool) -> Trainer:
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=8,
        learning_rate=5e-3,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=0,
    )
    data: Any = [example(seed, features=features) for seed in range(64)]
    trainer = Trainer(model=training, args=args, train_dataset=data, data_collator=collate)
    trainer.train()
    return trainer


def held_out(model: nn.Module, *, features: bool, budget: float) -> tuple[float, float]:
    """The loss of what was never trained on, and the share of it that was skipped."""
    batch = collate([example(1000 + seed, features=features) for seed in range(24)])
    contexts = [Context(task="asr", budget=budget)] * 24
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    with torch.no_grad(), recordings(model, lengths=lengths, contexts=contexts) as call:
        labels = batch.pop("labels")
        logits: Tensor = model(**batch).logits
    decided = call.decided()
    assert decided is not None
    frames = ctc_network_of(model).num_frames(torch.tensor(lengths))
    log_probs = logits.log_softmax(dim=-1).transpose(0, 1)
    loss = nn.functional.ctc_loss(log_probs, labels[labels >= 0], frames, (labels >= 0).sum(dim=1))
    return float(loss), float(decided.sparsity())


def test_transformers_trainer_trains_gates_that_follow_a_budget(tmp_path: Path) -> None:
    model = build("parakeet", True).requires_grad_(True)
    training = train_gates(model, ELASTIC, max_steps=STEPS, seed=1)
    before, _ = held_out(model.eval(), features=True, budget=0.2)
    trained(training, tmp_path, features=True)
    assert int(training.gate_training.step) == STEPS
    model.eval()
    found = {budget: held_out(model, features=True, budget=budget) for budget in (0.2, 0.5, 0.8)}
    assert found[0.2][0] < 0.7 * before
    assert all(sparsity == pytest.approx(budget, abs=0.15) for budget, (_, sparsity) in found.items())
    assert found[0.2][1] < found[0.5][1] < found[0.8][1]
    training.save(tmp_path / "model")
    again: Any = ParakeetForCTC.from_pretrained(tmp_path / "model").eval()
    attach(again, tmp_path / "model" / "gates")
    assert held_out(again, features=True, budget=0.5) == found[0.5]


@pytest.mark.filterwarnings("ignore:.pin_memory. argument is set as true:UserWarning")  # there is no GPU here
def test_the_example_in_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "docs" / "encoder_only.md"
    if not path.is_file():
        pytest.skip("a source distribution has no docs")
    code = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    data = [example(seed, features=True) for seed in range(16)]
    names: dict[str, Any] = {"model": build("parakeet", True).requires_grad_(True), "data": data, "collate": collate}
    exec(compile(code.replace("200", "3"), str(path), "exec"), names)
    model: Any = ParakeetForCTC.from_pretrained(tmp_path / "pruned")
    assert attach(model, tmp_path / "pruned" / "gates").is_elastic


def test_the_loss_is_the_sum_of_its_parts_and_a_labels() -> None:
    model = build("wav2vec2", True).requires_grad_(True)
    assert model.config.ctc_loss_reduction == "sum"
    batch = collate([example(seed, features=False) for seed in range(4)])
    base = float(model(**batch).loss.detach()) / int((batch["labels"] >= 0).sum())
    training = train_gates(model, {"sparsity": 0.5, "dense_share": 0.25}, max_steps=10)
    training.eval()
    parts = training(**batch)
    assert float(parts["dense"]) == pytest.approx(base, rel=1e-5)
    expected = 0.75 * parts["pruned"] + 0.25 * parts["dense"] + parts["penalty_encoder"]
    assert float(parts["loss"].detach()) == pytest.approx(float(expected))
    assert int(training.gate_training.step) == 0 and "sampled_sparsity_encoder" not in parts
    training.train()
    drawn = training(**batch)
    drawn["loss"].backward()
    assert int(training.gate_training.step) == 1 and 0 <= float(drawn["sampled_sparsity_encoder"]) <= 1
    assert all(float(p.grad.abs().sum()) > 0 for p in training.adapter.parameters() if p.grad is not None)
    assert any(p.grad is not None for p in training.adapter.parameters())


def test_a_frozen_base_needs_no_dense_pass_and_keeps_its_name(tmp_path: Path) -> None:
    model = build("hubert", True).requires_grad_(False)
    training = train_gates(model, {}, max_steps=10)
    batch = collate([example(seed, features=False) for seed in range(3)])
    parts = training(**batch)
    assert "dense" not in parts
    parts["loss"].backward()
    training.adapter.save_pretrained(tmp_path / "gates")
    detach(model)
    attach(model, tmp_path / "gates")


def test_what_cannot_be_trained_is_one_clear_error() -> None:
    for gates, told in (
        ({"sparsty": 0.5}, r"gates\.sparsty: .*The keys of gates: scope, init, default_scope, sparsity"),
        ({"scope": "both"}, "have scope encoder and count sites or ms.*Got scope both"),
        ({"context": ["speaker"]}, "embeddings as context.*Got scope encoder, unit sites, context speaker"),
        ({"sparsity_range": [0.5, 0.1]}, "low <= high"),
    ):
        with pytest.raises(SkipwiseError, match=told):
            train_gates(build("wavlm", True), gates, max_steps=10)
    training = train_gates(build("wavlm", True), {}, max_steps=10)
    batch = collate([example(0, features=False)])
    del batch["attention_mask"]
    with pytest.raises(SkipwiseError, match="give lengths, or the attention_mask"):
        training(**batch)

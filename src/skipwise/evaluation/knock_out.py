"""Knock-out: in which order sites can be closed at the least loss. It needs no gates and no training.

A greedy search: of all sites that are still open, the one is closed that harms least on dev, and so on. The first k
sites of the order are the static plan to compare learned ones with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from skipwise.audio import load_audio
from skipwise.data.manifest import Utterance
from skipwise.errors import SkipwiseError
from skipwise.evaluation.run import evaluate
from skipwise.features import SpeechStates
from skipwise.gating import GatePlan, GateSite
from skipwise.models.owsm.loading import OwsmModel
from skipwise.models.owsm.loss import IGNORED_LABEL, attention_loss
from skipwise.pipeline import Transcriber

Harm = Callable[[GatePlan], float]
"""What a plan costs in quality: lower is better."""


@final
@dataclass(frozen=True, kw_only=True)
class Knocked:
    """One step of the search."""

    site: GateSite
    """The site that was closed."""
    harm: float
    """With it and all before it closed."""


def knock_out_order(
    sites: Sequence[GateSite],
    harm: Harm,
    *,
    num_closed: int | None = None,
    on_step: Callable[[Knocked], None] | None = None,
) -> list[Knocked]:
    """Return the order in which `sites` are closed, the least harmful first, until `num_closed` are.

    With n sites that asks for the harm of n (n + 1) / 2 plans. Of equally harmful sites the first counts. `on_step` is
    told of each step.

    Raises:
        SkipwiseError: if more sites are to be closed than there are.
    """
    wanted = len(sites) if num_closed is None else num_closed
    if not 0 <= wanted <= len(sites):
        raise SkipwiseError(f"num_closed must be in [0, {len(sites)}], the number of sites; got {wanted}.")
    order: list[Knocked] = []
    while len(order) < wanted:
        closed = [step.site for step in order]
        left = [site for site in sites if site not in closed]
        harms = [harm(GatePlan.closing(sites, [*closed, site])) for site in left]
        best = min(range(len(left)), key=harms.__getitem__)
        order.append(Knocked(site=left[best], harm=harms[best]))
        if on_step is not None:
            on_step(order[-1])
    return order


def plan_of_order(sites: Sequence[GateSite], order: Sequence[Knocked], num_closed: int) -> GatePlan:
    """Return the plan that closes the first `num_closed` sites of an order."""
    return GatePlan.closing(sites, [step.site for step in order[:num_closed]])


@final
class LossHarm:
    """Nats a token of the reference under teacher forcing: fast, and smooth where error rates are not."""

    def __init__(
        self, model: OwsmModel, utterances: Sequence[Utterance], tasks: Sequence[str], *, batch_size: int = 8
    ) -> None:
        """Prepare the batches: every utterance with every task that it has a reference for.

        Raises:
            SkipwiseError: if there is none.
        """
        self._network = model.network
        self._batches: list[tuple[SpeechStates, Tensor, Tensor]] = []
        pairs = [(one, task) for task in tasks for one in utterances if _has(one, task)]
        if not pairs:
            raise SkipwiseError(f"no utterance has a reference for {', '.join(tasks)}. Check tasks and data.")
        with torch.inference_mode():
            for start in range(0, len(pairs), batch_size):
                self._batches.append(self._batch(model, pairs[start : start + batch_size]))
        self._num_scored = sum(int((labels != IGNORED_LABEL).sum()) for _, _, labels in self._batches)

    @torch.inference_mode()
    def __call__(self, plan: GatePlan) -> float:
        """Return the loss under a plan of one row."""
        total = 0.0
        for embedded, tokens, labels in self._batches:
            encoded = self._network.encode(embedded, plan)
            logits = self._network.decode(tokens, encoded, plan)
            total += float(
                attention_loss(logits, labels, label_smoothing=0.0, length_normalized=True, count=self._num_scored)
            )
        return total

    def _batch(self, model: OwsmModel, pairs: Sequence[tuple[Utterance, str]]) -> tuple[SpeechStates, Tensor, Tensor]:
        config, device = model.network.config, model.network.feature_mean.device
        tokens, labels = [], []
        for utterance, task in pairs:
            prompt = config.prompt(utterance.language, task)
            text = model.vocabulary.encode(utterance.reference(task))
            tokens.append(torch.tensor([*prompt, *text]))
            labels.append(torch.tensor([IGNORED_LABEL] * (len(prompt) - 1) + [*text, config.eos_token_id]))
        features = model.network.extract([_waveform(utterance).to(device) for utterance, _ in pairs])
        return (
            model.network.embed(features),
            pad_sequence(tokens, batch_first=True).to(device),
            pad_sequence(labels, batch_first=True, padding_value=IGNORED_LABEL).to(device),
        )


@final
class ErrorHarm:
    """Word error rate of the task `asr` in percent, by decoding."""

    def __init__(self, transcriber: Transcriber, utterances: Sequence[Utterance]) -> None:
        self._transcriber, self._utterances = transcriber, utterances

    def __call__(self, plan: GatePlan) -> float:
        """Return the error rate under a plan of one row."""
        follower = Transcriber(self._transcriber.model, gates=plan, options=self._transcriber.options)
        wer = evaluate(follower, self._utterances, ["asr"]).to_dict()["all"]["wer"]
        assert wer is not None
        return float(wer)


def _has(utterance: Utterance, task: str) -> bool:
    return utterance.transcript is not None if task == "asr" else task.removeprefix("st_") in utterance.translations


def _waveform(utterance: Utterance) -> Float[Tensor, " samples"]:
    return torch.from_numpy(load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s))

"""Our search beside transformers' `generate()` on the same weights, and a dense search beside a pruned one.

`generate()` runs our packed decoder too: what differs is the loop around it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, final

import torch

from skipwise.experiments.bench.plans import uniform_plan
from skipwise.experiments.bench.settings import BenchSettings
from skipwise.experiments.bench.subject import Subject, search_once
from skipwise.experiments.bench.timing import Parts, Work, by_length, take_turns
from skipwise.features import SpeechStates

PRUNED_SHARE = 0.5


@final
class Generator:
    """A subject's weights in transformers' interface."""

    def __init__(self, subject: Subject) -> None:
        from skipwise.models.owsm.configuration import OwsmConfig
        from skipwise.models.owsm.modeling import OwsmForConditionalGeneration

        architecture = subject.network.config
        fields = {field.name: getattr(architecture, field.name) for field in dataclasses.fields(architecture)}
        self._model = OwsmForConditionalGeneration(OwsmConfig(**fields)).eval()
        self._model.model.load_state_dict(subject.network.state_dict())
        self._prompt = torch.tensor([subject.prompt])

    @torch.inference_mode()
    def decode(self, encoded: SpeechStates, *, num_tokens: int) -> Parts:
        """Generate few and many tokens for a window that is encoded already."""
        from skipwise.models.owsm.modeling import OwsmEncoderOutput

        outputs = OwsmEncoderOutput(encoded.states, encoded.num_frames, encoded.num_real_frames)

        def generate(num_tokens: int) -> int:
            found = self._model.generate(
                encoder_outputs=outputs,
                decoder_input_ids=self._prompt,
                max_new_tokens=num_tokens,
                min_new_tokens=num_tokens,
            )
            return int(found.shape[1]) - self._prompt.shape[1]

        return by_length(generate, num_tokens)


def measure_generate(subject: Subject, settings: BenchSettings, on_round: Callable[[], None]) -> Mapping[str, Any]:
    """Return time per token of `generate()`, of our greedy search, and of it with half of the decoder closed."""
    encoded = subject.encoded(max(settings.audio_s), dtype="fp32")
    plan = uniform_plan(subject.network.config.gate_sites(), ("decoder",), PRUNED_SHARE).of_stack("decoder")
    search = partial(
        search_once, subject.engine("fp32"), encoded, subject.prompt, num_tokens=settings.num_tokens, beam_size=1
    )
    works: dict[str, Work] = {
        "generate()": partial(Generator(subject).decode, encoded, num_tokens=settings.num_tokens),
        "dense": search,
        "pruned": partial(search, plan=plan),
    }
    rounds = take_turns(works, rounds=settings.rounds, on_round=on_round)
    return {
        "closed": [str(site) for site in plan.closed()],
        "generate_over_dense": asdict(rounds.ratio("generate()", "dense", "token")),
        "dense_over_pruned": asdict(rounds.ratio("dense", "pruned", "token")),
        "rounds": rounds.to_dict(),
    }

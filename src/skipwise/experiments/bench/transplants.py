"""Plans that the shipped gates decide for the shipped clips, on a subject's sites: what a user would gain.

Gates for a subject's own weights would have to be trained; which modules those of the small model can do without is
known, and is moved to the large one by relative depth (`skipwise.gating.transplanted`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from skipwise.audio import load_audio
from skipwise.data.manifest import read_manifest
from skipwise.gating import AdapterPlanner, Context, GateAdapter, GatePlan, GateSite, sparsity_by_stack, transplanted
from skipwise.models.family import GATES_FOLDER
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.loading import load_owsm
from skipwise.pipeline import reference_model, shipped_clips


@final
@dataclass(frozen=True, kw_only=True)
class Transplant:
    """One plan of the shipped gates and what has become of it."""

    task: str
    original: GatePlan
    """The plan that is decided for more of the clips than any other, over the sites of the shipped model."""
    share_of_clips: float
    plan: GatePlan
    """The same over the subject's sites."""

    def to_dict(self) -> dict[str, Any]:
        """Return what was closed, as values for JSON."""
        return {
            "from": "reference",
            "share_of_clips": self.share_of_clips,
            "original_sparsity": dict(sparsity_by_stack(self.original)),
            "original_closed": [str(site) for site in self.original.closed()],
        }


@torch.inference_mode()
def transplants(sites: Sequence[GateSite]) -> list[Transplant]:
    """Return one for transcription and one for each translation that the shipped model knows."""
    model = load_owsm(reference_model())
    adapter = GateAdapter.from_pretrained(reference_model() / GATES_FOLDER).eval()
    planner, engine, tasks = AdapterPlanner(adapter), OwsmEngine(model.network), model.network.config.tasks
    decided: dict[str, list[GatePlan]] = {task: [] for task in tasks}
    for utterance in read_manifest(shipped_clips()):
        samples = torch.from_numpy(load_audio(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s))
        embedded = engine.embed(engine.extract([samples]))
        for task in tasks:
            context = [Context(language=utterance.language, task=task)]
            encoder = planner.encoder(context, embedded.pooled())
            decoder = planner.decoder(context, engine.encode(embedded, encoder).pooled())
            assert isinstance(encoder, GatePlan) and isinstance(decoder, GatePlan)  # decided before they run
            decided[task].append(encoder.join(decoder) if "encoder" in adapter.pruned_stacks() else decoder)
    return [_most_frequent(task, plans, sites) for task, plans in decided.items()]


def _most_frequent(task: str, plans: Sequence[GatePlan], sites: Sequence[GateSite]) -> Transplant:
    key, count = Counter(plan.key() for plan in plans).most_common(1)[0]
    original = next(plan for plan in plans if plan.key() == key)
    return Transplant(
        task=task, original=original, share_of_clips=count / len(plans), plan=transplanted(original, sites)
    )

"""The formulae count what torch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skipwise.evaluation.cost import count_macs, mac_weights
from skipwise.gating import GatePlan, GateSite
from skipwise.models.owsm import encoder
from skipwise.models.owsm.architecture import OwsmArchitecture
from skipwise.models.owsm.engine import OwsmEngine
from skipwise.models.owsm.network import OwsmNetwork
from tests.step_planners import HashedGates
from tests.tiny import tiny_architecture

PROMPT = 4


def tiny_network(*, window_s: float | None, subsampling_factor: int) -> OwsmNetwork:
    """Sizes that differ from each other, so that no two terms can be mixed up."""
    architecture = OwsmArchitecture(
        vocab_size=37,
        hidden_size=24,
        num_mel_bins=40,
        subsampling_factor=subsampling_factor,
        encoder_layers=2,
        encoder_attention_heads=3,
        encoder_ffn_dim=56,
        cgmlp_dim=44,
        cgmlp_kernel_size=7,
        merge_kernel_size=5,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=52,
        window_s=window_s,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OwsmNetwork(architecture).eval()


def torch_macs(network: OwsmNetwork, *, duration_s: float, num_fed_tokens: int, plan: GatePlan) -> tuple[int, int]:
    """Return the MACs of encoder and decoder as torch counts them, with attention written out as products."""
    features = network.extract([torch.zeros(round(duration_s * 16_000))])
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        with FlopCounterMode(display=False) as encoder_counter:
            encoded = network.encode(network.embed(features), plan)
        with FlopCounterMode(display=False) as decoder_counter:
            decoder = OwsmEngine(network).decoder
            state = decoder.start(encoded, plan)
            for num_new in (PROMPT, *[1] * num_fed_tokens):
                decoder.logits(decoder.states(torch.ones(1, 1, num_new, dtype=torch.long), state))
    return encoder_counter.get_total_flops() // 2, decoder_counter.get_total_flops() // 2


@pytest.mark.parametrize("subsampling_factor", [4, 8])
@pytest.mark.parametrize("window_s", [None, 2.0])
@pytest.mark.parametrize(
    "closed",
    [
        (),
        ("encoder.0.ffn1", "encoder.0.cgmlp", "decoder.0.src_attn", "decoder.1.self_attn"),
        ("encoder.1.self_attn", "encoder.1.cgmlp", "encoder.0.ffn2", "decoder.1.ffn", "decoder.1.src_attn"),
    ],
)
def test_the_formulae_count_what_torch_counts(
    closed: tuple[str, ...], window_s: float | None, subsampling_factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "_FEWEST_AT_ONCE", 1000)  # pieces compute a few feature frames twice: not counted
    network = tiny_network(window_s=window_s, subsampling_factor=subsampling_factor)
    plan = GatePlan.closing(network.config.gate_sites(), closed)
    counted = count_macs(
        network.config, duration_s=1.3, num_prompt_tokens=PROMPT, num_fed_tokens=6, closed=plan.closed()
    )
    expected = torch_macs(network, duration_s=1.3, num_fed_tokens=6, plan=plan)
    assert (counted.encoder, counted.decoder) == expected
    assert counted.total == sum(expected)


@pytest.mark.parametrize("open_share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_the_formulae_count_what_torch_counts_of_gates_of_every_step(open_share: float, seed: int) -> None:
    network = tiny_network(window_s=2.0, subsampling_factor=4)
    sites = tuple(site for site in network.config.gate_sites() if site.stack == "decoder")
    planner = HashedGates(sites, network.config.hidden_size, 1, open_share=open_share, seed=seed)
    tokens = torch.randint(1, 37, (1, PROMPT + 6), generator=torch.Generator().manual_seed(seed))
    features = network.extract([torch.zeros(round(1.3 * 16_000))])
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        encoded = network.encode(network.embed(features))
        with FlopCounterMode(display=False) as counter:
            decoder = OwsmEngine(network).decoder
            state = decoder.start(encoded, planner)
            for new in tokens[:, None].split([PROMPT, *[1] * 6], dim=2):
                decoder.logits(decoder.states(new, state))
        steps = network.step_plan(tokens, planner)
    counted = count_macs(network.config, duration_s=1.3, num_prompt_tokens=PROMPT, num_fed_tokens=6, steps=steps)
    predictor_macs = 2 * (PROMPT + 6) * network.config.hidden_size * len(sites)  # what decides is not counted
    assert counted.decoder == counter.get_total_flops() // 2 - predictor_macs
    dense = count_macs(network.config, duration_s=1.3, num_prompt_tokens=PROMPT, num_fed_tokens=6)
    assert counted.encoder == dense.encoder
    assert counted.decoder <= dense.decoder


def test_steps_that_are_all_alike_cost_what_one_plan_does() -> None:
    architecture = tiny_network(window_s=None, subsampling_factor=4).config
    sites = tuple(site for site in architecture.gate_sites() if site.stack == "decoder")
    once = GatePlan.closing(sites, ["decoder.0.self_attn", "decoder.1.src_attn", "decoder.1.ffn"])
    steps = GatePlan(sites, once.gates[:, None].expand(1, PROMPT + 9, -1))
    sizes = {"duration_s": 3.0, "num_prompt_tokens": PROMPT, "num_fed_tokens": 9, "num_beams": 3}
    assert count_macs(architecture, **sizes, steps=steps) == count_macs(architecture, **sizes, closed=once.closed())


def test_a_closed_site_counts_nothing_and_every_site_counts_something() -> None:
    architecture = tiny_network(window_s=None, subsampling_factor=4).config
    dense = count_macs(architecture, duration_s=3.0, num_prompt_tokens=PROMPT, num_fed_tokens=9)
    assert set(dense.sites) == set(architecture.gate_sites())
    for site in architecture.gate_sites():
        pruned = count_macs(architecture, duration_s=3.0, num_prompt_tokens=PROMPT, num_fed_tokens=9, closed={site})
        assert dense.total - pruned.total == dense.sites[site] > 0


def test_source_attention_that_never_runs_projects_no_keys() -> None:
    architecture = tiny_network(window_s=30.0, subsampling_factor=4).config
    closed = {GateSite("decoder", layer, "src_attn") for layer in range(architecture.decoder_layers)}
    short, long = (
        count_macs(architecture, duration_s=1.0, num_prompt_tokens=PROMPT, num_fed_tokens=fed, closed=closed).decoder
        for fed in (0, 1)
    )
    # a step of the decoder no longer depends on the 749 frames of the window
    assert long - short < 749 * architecture.hidden_size


def test_a_very_short_input_costs_its_minimal_frames() -> None:
    network = tiny_network(window_s=None, subsampling_factor=8)
    plan = GatePlan.all_open(network.config.gate_sites())
    counted = count_macs(network.config, duration_s=0.03, num_prompt_tokens=PROMPT, num_fed_tokens=0)
    assert (counted.encoder, counted.decoder) == torch_macs(network, duration_s=0.03, num_fed_tokens=0, plan=plan)


def test_weights_in_macs_are_what_closing_a_site_saves_but_for_the_merge():
    architecture = tiny_architecture()
    weights = dict(zip(architecture.gate_sites(), mac_weights(architecture, audio_s=4.0, num_tokens=9), strict=True))
    counted = {"duration_s": 4.0, "num_prompt_tokens": 4, "num_fed_tokens": 9}
    whole = count_macs(architecture, **counted).total
    for site, weight in weights.items():
        saved = whole - count_macs(architecture, **counted, closed=[site]).total
        merged = site.stack == "encoder" and site.kind in ("self_attn", "cgmlp")
        assert (weight > saved) == merged and (merged or weight == saved), site
    both = [GateSite("encoder", 0, kind) for kind in ("self_attn", "cgmlp")]
    saved = whole - count_macs(architecture, **counted, closed=both).total
    assert sum(weights[site] for site in both) == saved

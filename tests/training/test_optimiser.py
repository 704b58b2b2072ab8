import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from skipwise.training.config import OptimisationSection
from skipwise.training.optimiser import MuonAdamW, make_optimiser
from skipwise.training.run import train
from tests.tiny import attach_random_gates, tiny_network

MUON = OptimisationSection(max_steps=4, optimiser="muon", learning_rate=0.01, weight_decay=0.1)


@pytest.fixture
def network() -> nn.Module:
    network = tiny_network()
    attach_random_gates(network)
    return network


def _step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step()


def test_muon_takes_the_matrices_of_the_layers_and_adamw_all_else(network):
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    optimiser = make_optimiser(network, MUON, gate_rate=0.5)
    of_muon = {names[id(parameter)] for group in optimiser.param_groups[:1] for parameter in group["params"]}
    others = set(names.values()) - of_muon
    assert {"decoder.layers.0.ffn.fc1.weight", "encoder.layers.0.self_attn.attention.q_proj.weight"} <= of_muon
    assert {"decoder.lm_head.weight", "decoder.embed_tokens.weight", "decoder.layers.0.ffn.fc1.bias"} <= others
    assert not any(name.startswith("gate_adapter.") for name in of_muon)
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)


def test_each_part_steps_as_it_would_alone(network):
    alone = copy.deepcopy(network)
    optimiser = make_optimiser(network, MUON, gate_rate=0.5)
    name, bias = "decoder.layers.0.ffn.fc1.weight", "decoder.layers.0.ffn.fc1.bias"
    start = alone.get_parameter(name).detach().clone()
    parts = [
        torch.optim.Muon([alone.get_parameter(name)], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([alone.get_parameter(bias)], lr=0.01, weight_decay=0.0, betas=(0.9, 0.98), fused=True),
    ]
    for seed in (1, 2):
        _step(network, optimiser, seed)
        for part in parts:
            _step(alone, part, seed)
    assert torch.equal(network.get_parameter(bias), alone.get_parameter(bias))
    moved = alone.get_parameter(name) - start
    apart = network.get_parameter(name) - alone.get_parameter(name)
    assert apart.norm() < 0.02 * moved.norm()  # torch's orthogonalises in bfloat16


def test_a_schedule_reaches_both_parts(network):
    before = copy.deepcopy(dict(network.named_parameters()))
    optimiser = make_optimiser(network, MUON, gate_rate=0.5)
    torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.0)
    _step(network, optimiser, seed=1)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_a_saved_state_goes_on_as_if_nothing_had_been(network):
    resumed = copy.deepcopy(network)
    optimiser = make_optimiser(network, MUON, gate_rate=0.5)
    _step(network, optimiser, seed=1)
    other = make_optimiser(resumed, MUON, gate_rate=0.5)
    resumed.load_state_dict(network.state_dict())
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    _step(network, optimiser, seed=2)
    _step(resumed, other, seed=2)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, resumed.get_parameter(name)), name


def test_a_frozen_base_leaves_the_gates_to_adamw(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith("gate_adapter."))
    optimiser = make_optimiser(network, MUON, gate_rate=0.5)
    assert isinstance(optimiser, torch.optim.AdamW)
    assert {group["lr"] for group in optimiser.param_groups} == {0.5}


def test_a_run_with_muon_learns_and_writes_a_model(base_config):
    config = base_config(optimisation={"max_steps": 6, "optimiser": "muon"})
    train(config)
    saved = torch.load(config.output / "checkpoints" / "checkpoint-6" / "optimizer.pt", weights_only=True)
    assert any("momentum_buffer" in state for state in saved["state"].values())
    assert any("exp_avg" in state for state in saved["state"].values())


def test_an_unknown_optimiser_names_those_there_are():
    with pytest.raises(ValidationError, match="'adamw' or 'muon'"):
        OptimisationSection.model_validate({"max_steps": 1, "optimiser": "sgd"})


def test_muon_and_adamw_are_one_optimiser_to_a_checkpoint():
    matrix, bias = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(3))
    optimiser = MuonAdamW([{"params": [matrix], "lr": 0.1}], [{"params": [bias], "lr": 0.1}])
    matrix.grad, bias.grad = torch.ones(2, 3), torch.ones(3)
    optimiser.step()
    assert set(optimiser.state_dict()["state"]) == {0, 1}

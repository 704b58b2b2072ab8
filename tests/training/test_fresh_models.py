"""What a run from scratch starts from: an encoder that hears already, a CTC head that knows frequencies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.models.ctc_frequencies import know_frequencies
from skipwise.models.owsm.fresh import take_encoder
from skipwise.models.owsm.loading import OwsmModel
from skipwise.models.owsm.network import OwsmNetwork
from tests.tiny import tiny_model, tiny_network, tone


def states_of(network: OwsmNetwork) -> torch.Tensor:
    with torch.no_grad():
        return network.encode(network.embed(network.extract([torch.tensor(tone(1.0))]))).states


def donor_of(folder: Path) -> OwsmModel:
    return tiny_model(folder, seed=3, cgmlp_kernel_size=7, merge_kernel_size=5)


def test_a_taken_encoder_says_what_its_donor_says_through_wider_kernels_too(tmp_path: Path) -> None:
    donor = donor_of(tmp_path / "donor")
    network = tiny_network(seed=4, cgmlp_kernel_size=31, merge_kernel_size=5)
    before = states_of(network)
    decoder = {name: tensor.clone() for name, tensor in network.decoder.state_dict().items()}
    take_encoder(network, donor)
    # zeros in a kernel change the order of sums alone
    torch.testing.assert_close(states_of(network), states_of(donor.network), rtol=0, atol=1e-5)
    assert not torch.allclose(states_of(network), before, atol=0.1)
    assert torch.equal(network.feature_mean, donor.network.feature_mean)
    assert all(torch.equal(tensor, decoder[name]) for name, tensor in network.decoder.state_dict().items())


def test_an_encoder_of_another_shape_is_refused(tmp_path: Path) -> None:
    donor = donor_of(tmp_path / "donor")
    for changes in ({"encoder_layers": 3}, {"encoder_ffn_dim": 80}, {"cgmlp_kernel_size": 5}):
        network = tiny_network(**changes)
        with pytest.raises(SkipwiseError, match=r"the encoder of .*donor has another shape: encoder\..* is .*, not "):
            take_encoder(network, replace(donor))


@torch.no_grad()
def test_a_fresh_ctc_head_says_frequencies_whatever_it_hears() -> None:
    network = tiny_network()
    know_frequencies(network.ctc_head, [[1520, 1520, 1521], [1520]])
    encoded = network.encode(network.embed(network.extract([torch.tensor(tone(1.0, seed=s)) for s in (0, 1)])))
    probabilities = network.ctc_logits(encoded).softmax(dim=-1)
    assert float(probabilities.std(dim=(0, 1)).max()) < 1e-6
    common = probabilities[0, 0]
    assert float(common[network.config.pad_token_id]) == pytest.approx(0.8, abs=1e-4)
    assert float(common[1520] / common[1521]) == pytest.approx(3.1 / 1.1, rel=1e-3)
    assert float(common[1522]) > 0

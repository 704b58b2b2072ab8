"""The conv embedding piece by piece is the conv embedding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from skipwise.models.owsm import encoder
from skipwise.models.owsm.encoder import ConvEmbedding
from tests.tiny import tiny_network


@torch.no_grad()
def at_once(embedding: ConvEmbedding, features: torch.Tensor) -> torch.Tensor:
    hidden = features[:, None]
    for conv in embedding.convs:
        hidden = nn.functional.relu(conv(hidden))
    return embedding.out_proj(hidden.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("num_features", [15, 16, 17, 18, 63, 64, 65, 66, 67, 131, 300])
@torch.no_grad()
def test_pieces_are_the_whole(factor: int, num_features: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of another order in fp32."""
    embedding = tiny_network(subsampling_factor=factor).encoder.conv_embedding
    features = torch.randn(2, num_features, 80, generator=torch.Generator().manual_seed(num_features))
    expected = at_once(embedding, features)
    for fewest in (1, 3, 16):
        monkeypatch.setattr(encoder, "_FEWEST_AT_ONCE", fewest)
        monkeypatch.setattr(encoder, "_FRAMES_AT_ONCE", 2 * fewest)
        found = embedding(features)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_no_piece_is_larger_than_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = tiny_network().encoder.conv_embedding
    sizes: list[int] = []
    embedding.out_proj.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[1]))
    for rows, largest in ((1, 64), (2, 32), (16, 16)):
        sizes.clear()
        embedding(torch.zeros(rows, 603, 80))
        assert max(sizes) == largest and sum(sizes) == 150

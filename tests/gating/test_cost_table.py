"""Cost tables: shares of a stack, and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from skipwise.errors import SkipwiseError
from skipwise.gating import GateSite
from skipwise.gating.cost_table import CostTable, SiteCost

SITES = [GateSite("decoder", 0, "self_attn"), GateSite("decoder", 0, "ffn"), GateSite("encoder", 0, "ffn1")]


@pytest.fixture
def table() -> CostTable:
    costs = [SiteCost(macs=30, weight_bytes=8, ms=1.0), SiteCost(macs=10, weight_bytes=4, ms=3.0)]
    return CostTable(
        setting={"model": "tiny", "dtype": "fp32"},
        sites=dict(zip(SITES, [*costs, SiteCost(macs=7, weight_bytes=2, ms=5.0)], strict=True)),
        merge_ms={0: 0.75},
        rest_ms={"encoder": 0.5, "decoder": 0.25},
    )


def test_weights_are_shares_of_the_gateable_cost_of_a_stack(table: CostTable) -> None:
    for unit, expected in (("sites", [0.5, 0.5, 1.0]), ("macs", [0.75, 0.25, 1.0]), ("ms", [0.25, 0.75, 1.0])):
        assert torch.allclose(table.site_weights(SITES, unit), torch.tensor(expected))
    assert table.gateable("decoder", "ms") == 4.0


def test_a_speedup_is_a_share_of_what_gates_can_save(table: CostTable) -> None:
    """The whole takes 4 + 0.25 + 5 + 0.5 + 0.75 = 10.5 ms, of which the decoder's gates can save 4."""
    assert table.sparsity_for(1.25, ["decoder"]) == pytest.approx(0.2 * 10.5 / 4)
    assert table.sparsity_for(2.0, ["encoder", "decoder"]) == pytest.approx(0.5 * 10.5 / 9)
    for speedup in (1.0, 10.5 / 6.5, 3.0):
        with pytest.raises(SkipwiseError, match=r"above 1 and below 1\.62, which closing all of decoder gives"):
            table.sparsity_for(speedup, ["decoder"])


def test_what_is_saved_is_what_is_loaded(table: CostTable, tmp_path: Path) -> None:
    table.save(tmp_path / "table.json")
    assert CostTable.load(tmp_path / "table.json") == table


def test_a_site_or_a_unit_that_is_not_there_is_named(table: CostTable) -> None:
    with pytest.raises(SkipwiseError, match=r"no site decoder\.9\.ffn: it is of tiny\. Measure the model itself"):
        table.site_weights([GateSite("decoder", 9, "ffn")], "ms")


def test_a_file_that_is_no_table_is_one_error(table: CostTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    with pytest.raises(SkipwiseError, match=r"no such cost table: .*table\.json\. Measure one: skipwise bench cost"):
        CostTable.load(path)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(SkipwiseError, match="is no cost table"):
        CostTable.load(path)
    table.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 9}), encoding="utf-8")
    with pytest.raises(SkipwiseError, match="has format 9, this version reads 1"):
        CostTable.load(path)

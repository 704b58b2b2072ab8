"""The example of docs/espnet.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

pytest.importorskip("espnet2", reason="needs ESPnet: `make oracle`")

from skipwise.models.attach import describe_base
from skipwise.training.espnet.start import gates_section
from tests.interop.espnet_side import EXP, WEIGHTS_FILE
from tests.interop.native.models import CLIPS, random_gates, speech2text

DOCS = Path(__file__).parents[3] / "docs" / "espnet.md"


@pytest.mark.parametrize("folder", ["tiny-4x"], indirect=True, scope="session")
def test_the_example_of_decoding_runs(folder: Path, tmp_path: Path) -> None:
    s2t = speech2text(folder)
    random_gates(s2t).save_pretrained(tmp_path / "gates")
    code = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    assert "Speech2Text(config, weights" in code
    names = {
        "config": str(folder / EXP / "config.yaml"),
        "weights": str(folder / EXP / WEIGHTS_FILE),
        "gates": tmp_path / "gates",
        "speech": CLIPS[0],
        "sites": describe_base(s2t).sites,
    }
    exec(compile(code, str(DOCS), "exec"), names)
    assert isinstance(names["text"], str) and isinstance(names["less"], str)


def test_the_example_of_a_config_is_valid() -> None:
    text = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    section = gates_section(yaml.safe_load(text)["gates_conf"])
    assert (section.scope, section.sparsity, section.dense_share) == ("decoder", 0.5, 0.5)

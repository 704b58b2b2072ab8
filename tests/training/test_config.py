import re

import pytest
import yaml

from skipwise.errors import SkipwiseError
from skipwise.gating import LocalPredictorConfig, MlpPredictorConfig
from skipwise.gating.context import CONTEXT_PARTS
from skipwise.gating.predictors import predictor_kinds
from skipwise.training.config import LoraSection, load_config
from skipwise.training.gates_section import DistillationSection, GatesSection

MINIMAL = "output: run\ndata: {root: corpus}\noptimisation: {max_steps: 10}\n"


@pytest.fixture
def config_file(tmp_path):
    def write(text: str = MINIMAL):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return path

    return write


def test_a_minimal_config_has_defaults(config_file):
    config = load_config(config_file())
    assert (config.optimisation.max_steps, config.gates, config.model.init) == (10, None, "scratch")


def test_overrides_change_what_they_name_in_order(config_file):
    config = load_config(
        config_file(), ["optimisation.max_steps=20", "gates.sparsity=0.7", "optimisation.max_steps=30"]
    )
    assert config.optimisation.max_steps == 30
    assert config.gates is not None and config.gates.sparsity == 0.7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.max_stepz=3", r"unknown key optimisation.max_stepz; allowed there: .*max_steps"),
        ("speed=3", r"unknown key speed; allowed there: augment, data, gates, model, optimisation, output, seed"),
        ("optimisation.max_steps=many", r"optimisation.max_steps: .*integer.*got 'many'"),
        ("optimisation.bf16=maybe", r": optimisation.bf16: input should be True, False or 'auto', got 'maybe'\."),
        ("gates.sparsity=1.0", r"gates.sparsity: .*less than 1, got 1.0"),
        ("gates.scope=all", r"gates.scope: .*'encoder', 'decoder' or 'both', got 'all'"),
        ("gates.sparsity_range=[0.9, 0.1]", r"sparsity_range must be \[low, high\] with 0 <= low <= high < 1"),
        ("gates.sparsity_range=[0, 0.9]", r"sparsity_range needs budget in context"),
        ("augment.bands=3", r"unknown key augment.bands; allowed there: .*num_bands"),
        ("gates.penalty=cubic", r"gates.penalty: .*'lagrangian', got 'cubic'"),
        ("gates.predictor={kind: oracle}", r"predictor.kind must be one of layer_drop, local, mlp, .*; got 'oracle'"),
        ("gates.predictor={kind: mlp, depth: 3}", r"unknown key predictor.depth; allowed for mlp: .*hidden_size"),
        ("gates.predictor={kind: layer_drop, depth: 3}", r"allowed for layer_drop: nothing but kind"),
        ("gates.predictor={kind: mlp, hidden_size: wide}", r"predictor.hidden_size: .*integer.*got 'wide'"),
        ("gates.relaxation=fuzzy", r"gates.relaxation: .*'straight_through' or 'soft', got 'fuzzy'"),
        ("gates.cost.unit=ms", r"gates.cost: unit ms needs file"),
        ("gates.cost.units=ms", r"unknown key gates.cost.units; allowed there: audio_s, file, num_tokens, unit"),
        ("gates.distillation.weight=0", r"gates.distillation.weight: .*greater than 0, got 0"),
        ("gates.sparsity_warmup_shape=step", r"sparsity_warmup_shape: .*'linear' or 'cubic', got 'step'"),
        ("model.lora.rang=3", r"unknown key model.lora.rang; allowed there: alpha, dropout, layers, rank"),
        ("model.base=frozen", r"model.base frozen is for gates on a trained base: it needs gates and init"),
        ("model.base=decoder", r"base decoder keeps the encoder of a trained base: name one in init"),
        ("model.base=head", r"model.base: .*'full', 'decoder', 'lora' or 'frozen', got 'head'"),
        ("model.decoder_layers=[2, 0]", r"decoder_layers must be layers from 0 on, in order .*, got \[2, 0\]"),
        (
            "model.decoder_layers=[0, 2]",
            r"decoder_layers is for a trained base .* set architecture.decoder_layers",
        ),
        ("max_steps", r"written key=value.*got 'max_steps'"),
    ],
)
def test_a_wrong_key_or_value_names_itself_and_what_is_allowed(config_file, override, message):
    with pytest.raises(SkipwiseError, match=message):
        load_config(config_file(), [override])


def test_a_missing_key_is_named(config_file):
    with pytest.raises(SkipwiseError, match=r"optimisation is missing"):
        load_config(config_file("output: run\ndata: {root: corpus}\n"))


def test_a_missing_or_broken_file_is_named(config_file, tmp_path):
    with pytest.raises(SkipwiseError, match=r"no such config: .*nowhere.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(SkipwiseError, match=r"is not YAML"):
        load_config(config_file("output: ["))
    with pytest.raises(SkipwiseError, match=r"must hold sections"):
        load_config(config_file("- a\n"))


def test_the_shipped_recipes_are_valid(pytestconfig):
    found = sorted((pytestconfig.rootpath / "recipes").rglob("*.yaml"))
    # sweeps are in tests/experiments/sweep; recipes/espnet is for ESPnet's own trainer
    recipes = [path for path in found if not path.stem.startswith("sweep") and "espnet" not in path.parts]
    assert recipes
    for recipe in recipes:
        load_config(recipe)


def test_a_base_that_is_kept_keeps_its_window(config_file):
    given = ["model.base=lora", "model.init=base", "gates.scope=both"]
    assert load_config(config_file(), given).model.lora.rank == 8
    with pytest.raises(SkipwiseError, match=r"model.base lora leaves the base as it is, so architecture.window_s"):
        load_config(config_file(), [*given, "model.architecture.window_s=30"])


def test_a_predictor_is_chosen_by_its_kind_and_fields(config_file):
    gates = load_config(config_file(), ["gates.predictor={kind: local, hidden_size: 7}"]).gates
    assert gates is not None and gates.predictor_config() == LocalPredictorConfig(hidden_size=7)
    plain = load_config(config_file(), ["gates.scope=both"]).gates
    assert plain is not None and plain.predictor_config() == MlpPredictorConfig()


def test_the_recipes_in_the_guide_to_gates_are_valid(pytestconfig, config_file):
    guide = (pytestconfig.rootpath / "docs" / "gating.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)
    assert len(blocks) == 6
    for block in blocks:
        record = yaml.safe_load(MINIMAL) | yaml.safe_load(block)
        load_config(config_file(yaml.safe_dump(record)))


def test_the_guide_to_gates_names_every_option_and_predictor(pytestconfig):
    guide = (pytestconfig.rootpath / "docs" / "gating.md").read_text(encoding="utf-8")
    options = {*GatesSection.model_fields, *DistillationSection.model_fields, *LoraSection.model_fields}
    options |= {*predictor_kinds(), *CONTEXT_PARTS}
    assert not {name for name in options if name not in guide}

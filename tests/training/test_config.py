import pytest

from skipwise.errors import SkipwiseError
from skipwise.training.config import load_config

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
        ("gates.sparsity=1.0", r"gates.sparsity: .*less than 1, got 1.0"),
        ("gates.scope=all", r"gates.scope: .*'encoder', 'decoder' or 'both', got 'all'"),
        ("gates.sparsity_range=[0.9, 0.1]", r"sparsity_range must be \[low, high\] with 0 <= low <= high < 1"),
        ("gates.sparsity_range=[0, 0.9]", r"sparsity_range needs budget in context"),
        ("augment.bands=3", r"unknown key augment.bands; allowed there: .*num_bands"),
        ("gates.penalty=cubic", r"gates.penalty: .*'lagrangian', got 'cubic'"),
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
    recipes = sorted((pytestconfig.rootpath / "recipes").rglob("*.yaml"))
    assert recipes
    for recipe in recipes:
        load_config(recipe)

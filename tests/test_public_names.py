import importlib

import pytest

import skipwise


@pytest.mark.parametrize("name", skipwise.__all__)
def test_a_public_name_is_the_thing_its_module_has(name: str) -> None:
    module = importlib.import_module(skipwise._MODULE_OF[name])
    assert getattr(skipwise, name) is getattr(module, name)
    assert name in dir(skipwise)


def test_the_table_and_the_list_of_names_agree() -> None:
    assert sorted(skipwise._MODULE_OF) == sorted(skipwise.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'skipwise' has no attribute 'transcriber'"):
        skipwise.transcriber  # noqa: B018

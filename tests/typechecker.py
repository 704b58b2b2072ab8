"""The checker of conftest's import hook: beartype, which lets an int be a float as type checkers do (PEP 484)."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""`Raises:` in docstrings of functions and classes. Napoleon also takes `what: it is` under a field for a type."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

_SETTINGS = Config(napoleon_use_ivar=True)


def _read(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what not in {"attribute", "data", "property"}:
        lines[:] = GoogleDocstring(lines, _SETTINGS, app, what, name, obj, options).lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

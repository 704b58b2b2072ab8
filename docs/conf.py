"""The documentation site: `make docs` builds it, and every warning, broken link or unknown name is an error."""

import sys
from pathlib import Path

import skipwise

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "skipwise"
copyright = "the skipwise authors"  # noqa: A001 Sphinx's name
version = release = skipwise.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "command_line", "google_sections", "repository_links"]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"  # tests/docs/test_notebooks.py runs them

nitpicky = True
suppress_warnings: list[str] = []
show_warning_types = True
# No network: what belongs to others is known by its module alone. Names of ours have to be in the reference.
_OTHERS = (
    "abc|annotated_types|collections|enum|jaxtyping|matplotlib|nn|np|numpy|os|pathlib|pydantic|torch|transformers|"
    "typer|types|typing"
)
nitpick_ignore_regex = [
    ("py:.*", rf"({_OTHERS})(\..*)?"),
    (
        "py:.*",
        r"(Any|Path|Tensor|bool|bytes|dict|float|int|list|object|set|str|tuple|type|ndarray|ValueError|UserWarning)",
    ),
    ("py:.*", r"skipwise\..*\.(Gateable|Network_co|NetworkT|P|S|Vocabulary_co)"),  # type variables
    ("py:class", r"(skipwise\..*\.)?(ContextPart|PenaltyForm|Relaxation)"),  # names of literals
    ("py:class", r"skipwise\.models\.engine\..*"),  # the engine's inside
    ("py:class", r"(dict|tuple)\[(float|int|str)"),  # torn from a field of transformers
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "literal"  # `name` in a docstring is code
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False}

highlight_language = "none"
html_theme = "furo"
html_title = f"skipwise {release}"
html_show_copyright = False
html_show_sphinx = False

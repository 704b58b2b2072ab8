"""Links out of docs/ to a folder of the repository: GitHub opens it, a page of the site names its path.

Links to files need nothing: Sphinx copies the file and links to the copy. A folder that is not there is a warning, as
any broken link is.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

_ROOT = Path(__file__).parents[2]


def _name_folders(app: Sphinx, document: nodes.document) -> None:
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in list(document.findall(pending_xref)):
        folder = (here / link["reftarget"]).resolve()
        if folder.is_dir() and folder.is_relative_to(_ROOT):
            path, said = folder.relative_to(_ROOT).as_posix(), link.astext()
            named = [nodes.literal(text=path)] if said == path else [*link.children, nodes.Text(f" ({path})")]
            link.replace_self(named)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", _name_folders)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

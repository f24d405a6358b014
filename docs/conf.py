"""Settings of Sphinx. docs/build.py calls it, with what differs between the languages: see generator/site.py."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generator import docstrings, doctrees, mathjax, search  # noqa: E402

project = "attnretrieval"
smartquotes = False                     # "..." is a part of a shape
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
templates_path = ["theme/templates"]
locale_dirs = ["locale"]

# pages in Markdown, and notebooks with the outputs that they have
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# the package
autodoc_default_options = {"members": True, "undoc-members": True, "ignore-module-all": True, "no-value": True}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_type_aliases = {"Array": "Array"}
add_module_names = False
python_display_short_literal_types = True
python_maximum_signature_line_length = 100
toc_object_entries = False
suppress_warnings = ["ref.python"]      # two classes of one name, in an annotation that cannot be evaluated

# the look
html_theme = "furo"
html_title = "attnretrieval"
html_static_path = ["theme/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_use_index = html_domain_indices = False

# formulas, without the network
mathjax_path = "mathjax/tex-chtml.js"


def setup(app) -> None:
    app.add_search_language(search.Chinese)
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-process-signature", docstrings.show_alias)
    app.connect("autodoc-skip-member", docstrings.skip)
    app.connect("doctree-read", doctrees.let_tags_stand)
    app.connect("doctree-read", doctrees.join_chinese_lines)
    app.connect("doctree-read", doctrees.keep_marks_with_formulas)
    app.connect("build-finished", lambda app, error: error or mathjax.copy(Path(app.outdir) / "_static"))

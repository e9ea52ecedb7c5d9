"""Sphinx's settings for the course's web site. `course site` writes what Sphinx reads, then builds with these."""

from course_utils.assets import STATIC
from courseware.site_pages import TITLE

project = TITLE
author = "the course's authors"
copyright = "text CC BY 4.0, code Apache-2.0"

extensions = ["myst_nb", "sphinxcontrib.bibtex", "courseware.site_pages"]
bibtex_bibfiles: list[str] = []  # courseware.site names the file, which it writes beside the pages
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # its script lives on another server; the controls need a kernel anyway
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "mystnb.nb_file"]
# a process may build two sites: Sphinx then says of each of its own nodes and directives that it has them already
suppress_warnings += ["app.add_node", "app.add_directive", "app.add_role", "app.add_generic_role"]

html_title = project
html_theme_path = ["../courseware/templates"]
html_theme = "site"
html_static_path = [str(STATIC)]
html_context = {kind: sorted(p.name for p in STATIC.glob(end)) for kind, end in (("styles", "*.css"), ("scripts", "*.js"))}
html_math_renderer = "mathml"
html_copy_source = False  # a page's notebook lies beside it, as it was built
html_use_index = False
html_permalinks_icon = "#"

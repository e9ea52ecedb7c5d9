"""Sphinx's settings for the course's web site. `course site` writes what Sphinx reads, then builds with these."""

from course_utils.assets import STATIC
from courseware.build import release_tag
from courseware.chapters import repository

project = "Foundations of large language models"
author = "the course's authors"
copyright = "text CC BY 4.0, code Apache-2.0"

extensions = ["myst_nb", "sphinxcontrib.bibtex", "courseware.site"]
bibtex_bibfiles: list[str] = []  # courseware.site names the file, which it writes beside the pages
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # its script lives on another server; the controls need a kernel anyway
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "mystnb.nb_file"]

html_title = project
html_theme = "sphinx_book_theme"
html_theme_options = {
    "repository_url": repository(),
    "repository_branch": release_tag() or "main",
    "path_to_docs": "",
    "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    "use_download_button": True,
    "use_repository_button": True,
    "home_page_in_toc": True,
    "pygments_light_style": "default",
}
html_math_renderer = "mathml"
html_static_path = ["../courseware/templates/site", str(STATIC)]
html_css_files = ["formulas.css", *sorted(path.name for path in STATIC.glob("*.css"))]
html_js_files = [(path.name, {"defer": "defer"}) for path in sorted(STATIC.glob("*.js"))]
html_copy_source = True
html_sourcelink_suffix = ""

"""The documentation site: `make docs` builds it into build/docs; warnings are errors there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# The pages' shell cells run the `torchbce` that stands beside this Python.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# Cells are no terminals, for all that Jupyter says; and threads that wait leave the cores to others.
os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "TTY_COMPATIBLE": "0", "OMP_WAIT_POLICY": "PASSIVE"}

from torchbce import __version__

project = "torchbce"
author = "The torchbce authors"
copyright = "The torchbce authors"
version = release = __version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "myst_nb",
    "generated",  # what follows is in _ext
    "links",
    "name_lists",
    "properties",
    "public_names",
    "cells",
]
# Pictures' programs and the checks' index stand beside the pages.
exclude_patterns = ["_ext", "images/*.py", "checks/*.py", "gallery/*.ipynb", "sg_execution_times.rst", "gallery/sg_*"]
nitpicky = True
nitpick_ignore_regex = [
    # Other projects' names: their indexes would need a network. Within our own, only what is public has an entry.
    (
        "py:.*",
        r"(torch(?!bce)|np|numpy|polars|pandas|pathlib|os|collections|typing|sklearn|scipy|matplotlib|builtins)\b.*",
    ),
    ("py:class", r"(?!torchbce\.).*"),
    ("py:class", r"torchbce\.\w+\..*"),
    ("py:(exc|func)", "FormulaError|fused_loss"),  # of its own module
    ("py:attr", r"Explanation\..*"),  # fields, which its own entry describes
]

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "config.cache", "toc.empty_glob"]  # a page of results may go from # to ###
highlight_language = "none"

nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "docs-cells")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 240
nb_merge_streams = True

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say it in words
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Returns"]  # prose: what stands before a colon is no type

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples" / "gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "copyfile_regex": r".*\.csv",
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "furo"
html_title = f"torchbce {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": [], "navigation_with_keys": True}
linkcheck_ignore = [r"https://doi\.org/.*"]  # publishers refuse programs

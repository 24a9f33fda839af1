"""The report: one HTML page about one or several run folders, needing no network and no script.

`runs` reads folders and never trusts a file, `score_tables` compares scores, `charts` draws curves
as SVG, `pictures` chooses which PNG files go in, `sections` and `page` put it together, `markup`
escapes every string, `style` is the style sheet. `exports` reads a folder of exports, `gallery` and
`gallery_table` make a page and a table of it. Beside kgzoo's own light modules the standard
library alone is used.
"""

__all__ = [
    "charts",
    "exports",
    "gallery",
    "gallery_table",
    "markup",
    "page",
    "pictures",
    "runs",
    "score_tables",
    "sections",
    "style",
]

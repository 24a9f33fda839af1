"""The report: one HTML page about one or several run folders, needing no network and no script.

`runs` reads folders and never trusts a file, `score_tables` compares scores, `charts` draws curves
as SVG, `pictures` chooses which PNG files go in, `sections` and `page` put it together, `markup`
escapes every string, `style` is the style sheet. The standard library alone is used.
"""

__all__ = ["charts", "markup", "page", "pictures", "runs", "score_tables", "sections", "style"]

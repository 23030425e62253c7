"""The HTML shell of a page that is one file: no script, no request to anywhere, light and dark.

document(title, css, header, main, footer)
"""

from __future__ import annotations

from windrow.looks import style


def document(title: str, css: str, header: str, main: str, footer: str, meta: str = "") -> str:
    """Return a whole page.

    Args:
        title: of the window and of the first heading, as HTML.
        css: rules that follow the common style sheet.
        header, main, footer: their content, as HTML; the heading comes before that of the header.
        meta: further elements of the head, each on a line.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{meta}<title>{title}</title>
<style>
{style.sheet()}
{css}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
{header}
</header>
<main>
{main}
</main>
<footer>
{footer}
</footer>
</body>
</html>
"""

"""Make an HTML page that needs no other file and no scripts, for light and dark themes.

document(title, css, header, main, footer)
"""

from __future__ import annotations

from windrow.looks import style


def document(title: str, css: str, header: str, main: str, footer: str, meta: str = "") -> str:
    """Return the text of a whole HTML page.

    Args:
        title: HTML for <title> and for the <h1>.
        css: rules that follow the common style sheet.
        header, main, footer: HTML inside the elements of these names; `header` follows the <h1>.
        meta: further elements of the <head>, each followed by a line break.
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

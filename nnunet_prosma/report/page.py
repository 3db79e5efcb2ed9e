"""A page of HTML in the look of all pages here: nothing from outside, light and dark, as readable on a phone."""

from html import escape
from importlib import resources

from nnunet_prosma import __version__

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
<footer>Made by nnunet-prosma {version}. {footer}</footer>
</main>
<script>{script}</script>
</body>
</html>
"""


def page(title: str, body: str, footer: str) -> str:
    """title and footer are plain text, body is HTML."""
    folder = resources.files("nnunet_prosma.report")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return PAGE.format(
        title=escape(title),
        style=style,
        script=script,
        body=body,
        version=escape(__version__),
        footer=escape(footer),
    )

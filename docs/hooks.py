"""What mkdocs does beside its pages: the changelog as a page, and links to files that are no pages."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent


def on_files(files: Any, config: Any) -> Any:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Files outside of the pages have no address on the site: their links become their names."""
    return re.sub(r"\[([^]]*)\]\((?:\.\./|results/)[^)]*\)", r"`\1`", markdown)

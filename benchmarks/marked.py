"""A table in a document, between two marks, which the script that measured it replaces."""

from pathlib import Path

from nnunet_prosma.files import write_text

END = "<!-- end -->"


def replace(path: Path, script: str, text: str) -> None:
    """What stands between the script's mark and the next END."""
    mark = f"<!-- made by benchmarks/{script} -->"
    before, found, rest = path.read_text().partition(mark)
    if not found or END not in rest:
        raise SystemExit(f"{path} must hold the lines {mark} and {END}, between which the table goes")
    write_text(path, f"{before}{mark}\n{text}\n{END}{rest.partition(END)[2]}")

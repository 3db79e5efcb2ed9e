"""What README and docs say, held against the command line, nnU-Net's own commands and the files."""

import argparse
import functools
import inspect
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from nnunet_prosma.subcommands import SUBCOMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
NO_COMMANDS = {"version", "help"}


def blocks(page: Path) -> list[str]:
    """The lines of its code blocks, indented or fenced, continued lines joined."""
    text = page.read_text()
    fenced = re.findall(r"^( *)```\w*\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    indented = [line for line in text.splitlines() if line.startswith("    ")]
    lines = "\n".join([*(block for _, block in fenced), *indented]).replace("\\\n", " ")
    return [line.strip() for line in lines.splitlines()]


def commands(page: Path) -> list[str]:
    """nnunet-prosma ... as a shell would run it: in code blocks, and in the text between backticks."""
    inline = [found for found in re.findall(r"`([^`]+)`", page.read_text()) if found.startswith("nnunet-prosma ")]
    shell = [part for line in blocks(page) for part in re.split(r"[;&|]+ |\$\(", line)]
    shell = [re.sub(r"^(?:\w+=\S+ +)*(?:\S*/)?(?=nnunet-prosma )", "", part.strip()) for part in shell]
    return [
        re.split(r" #|>|\)$|  +", part)[0].strip() for part in [*inline, *shell] if part.startswith("nnunet-prosma ")
    ]


@functools.cache
def parser_of(name):
    return import_module(SUBCOMMANDS[name].module).parser()


def lines():
    return [(page.name, line) for page in PAGES for line in dict.fromkeys(commands(page))]


@pytest.mark.parametrize(("page", "line"), lines())
def test_every_command_line_names_a_command_and_parses(page, line):
    """A command named in passing, without what it must have, has at least flags that exist."""
    _, name, *words = shlex.split(line.replace("...", "1"))
    if name.lstrip("-") in NO_COMMANDS or name == "COMMAND":
        return
    assert name in SUBCOMMANDS, f"{page}: no command {name}"
    parser = parser_of(name)
    for below in (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)):
        if words and words[0] in below:
            parser, words = below[words[0]], words[1:]
    known = {flag for action in parser._actions for flag in action.option_strings}
    named = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert named <= known, f"{page}: {name} has no {', '.join(named - known)}"
    if words and not named & {"-h", "--help"}:
        unknown = parser.parse_known_args(words)[1] if complete(parser, words) else []
        assert unknown == [], f"{page}: {line}: {unknown}"


def complete(parser, words):
    """Whether a line has all that must be given: else it is a mention."""
    required = [a for a in parser._actions if a.required and a.option_strings]
    return all({*action.option_strings} & {*words} for action in required)


def test_lines_that_do_not_parse_are_seen():
    page = ROOT / "docs" / "compare.md"
    assert ("compare.md", "nnunet-prosma compare 9 3d_fullres nnUNetTrainer nnUNetTrainerProSMA -o report/") in lines()
    with pytest.raises(AssertionError, match="compare has no --tolerence"):
        test_every_command_line_names_a_command_and_parses(page, "nnunet-prosma compare --tolerence 2")
    with pytest.raises(AssertionError, match="no command comprae"):
        test_every_command_line_names_a_command_and_parses(page, "nnunet-prosma comprae 9")


def test_enough_command_lines_are_found_and_every_command_is_on_some_page():
    found = {shlex.split(line)[1] for _, line in lines()}
    assert {*SUBCOMMANDS} - found == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_was_wrapped_into_the_prose(page):
    """Where an editor took the lines of a block for a paragraph, they run on in one, with their indents inside."""
    prose = re.sub(r"^( *)```\w*\n.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    command = r"(?:\w+=\S+ )?(?:nnunet-prosma [a-z]|nnUNetv2_\w+ -|python \S+\.py)|\w+=\$?\w+/"
    for line in prose.splitlines():
        assert not re.match(command, line), line
        assert not re.search(r"\S {4,}(?:" + command + ")", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_between_backticks_exists(page):
    """Of our commands, of nnU-Net's, or of the few tools that are named."""
    ours = {flag for name in SUBCOMMANDS for flag in flags_of(parser_of(name))}
    flags = {word for text in re.findall(r"`([^`\n]+)`", page.read_text()) for word in text.split()}
    flags = {re.sub(r"[=,.;:)].*", "", f) for f in flags if re.match(r"--?[a-z][\w-]+|-[a-z]\b", f)}
    unknown = flags - ours - NNUNET - OTHERS
    assert unknown == set(), f"{page.name}: {unknown}"


def flags_of(parser):
    """Of the parser, and of those below it."""
    own = {flag for action in parser._actions for flag in action.option_strings}
    below = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return own.union(*(flags_of(one) for choices in below for one in choices.values()))


NNUNET = {
    *("--c", "--npz", "--val", "--val_best", "-num_gpus", "-pretrained_weights", "--verify_dataset_integrity"),
    *(
        "-np",
        "-npfp",
        "-npp",
        "-nps",
        "-pl",
        "--save_probabilities",
        "--save_npz",
        "-prev_stage_predictions",
        "-chk",
        "--disable_tta",
    ),
}
OTHERS = {"--target", "-e", "-m", "-n", "--index-url", "--extra-index-url", "--strict", "-s", "--no-deps", "-9", "-k"}
OTHERS |= {"-a", "--tags", "--write", "-w", "-v", "-r"}
"""Of pip, pytest, nox, twine, kill, git, time, and the scripts in benchmarks/."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_leads_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {link}"


def anchors(page):
    """Headings as GitHub and mkdocs name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_trainers_and_classes_that_are_named_exist():
    from nnunet_prosma import architectures, trainers

    texts = [page.read_text() for page in PAGES]
    names = {name for text in texts for name in re.findall(r"\b(nnUNetTrainer(?:ProSMA|PUNet|Attention)\w*)", text)}
    names = {name.partition("__")[0] for name in names}
    invented = {"nnUNetTrainerProSMADA5", "nnUNetTrainerProSMA_30epochs"}  # the examples of a trainer of one's own
    files = (ROOT / "docs" / "results" / "trainers").glob("*.py")  # those of the studies
    of_studies = {name for file in files for name in re.findall(r"^class (\w+)", file.read_text(), re.MULTILINE)}
    assert {n for n in names - invented - of_studies if not hasattr(trainers, n)} == set()
    classes = {name for text in texts for name in re.findall(r"nnunet_prosma\.architectures\.(\w+)", text)}
    assert {n for n in classes if not hasattr(architectures, n)} == set()


def test_the_trainer_that_the_questions_show_is_one_that_nnunet_can_build(monkeypatch):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "faq.md").read_text(), re.DOTALL)
    names = {}
    exec(compile(example, "docs/faq.md", "exec"), names)
    trainer = names["nnUNetTrainerProSMA_30epochs"]
    assert [*inspect.signature(trainer).parameters] == [*inspect.signature(nnUNetTrainer).parameters]
    instance = trainer.__new__(trainer)
    monkeypatch.setattr(nnUNetTrainer, "__init__", lambda self, *_: None)
    trainer.__init__(instance, {}, "2d", 0, {})
    assert instance.num_epochs == 30


def test_figures_are_small_and_each_is_shown():
    figures = [path for ending in ("png", "svg") for path in (ROOT / "docs" / "figures").glob(f"*.{ending}")]
    shown = "".join(page.read_text() for page in PAGES)
    assert [path.name for path in figures if path.name not in shown] == []
    assert [path.name for path in figures if path.stat().st_size > 400_000] == []


def test_the_site_builds_without_a_warning_and_has_every_page(tmp_path):
    words = ["-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {page for page in pages | {"changelog"} if not (tmp_path / "site" / page / "index.html").is_file()} == set()
    shown = (tmp_path / "site" / "python" / "index.html").read_text()
    assert "gated_network" in shown
    assert ":::" not in shown
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert {page for page in pages if f"{page}.md" not in navigation} == set(), "pages that nothing leads to"

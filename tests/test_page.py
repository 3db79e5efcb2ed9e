"""The look of all pages: contrast, sorting, printing; and what the first lines of a comparison say."""

import re
import shutil
import subprocess
from importlib import resources

import pytest
from browser import CHROMIUM, Browser
from compare_workspace import random_run

from nnunet_prosma.command import main
from nnunet_prosma.compare.badge import badge, badges, ordered
from nnunet_prosma.compare.cost import cost, cost_section
from nnunet_prosma.compare.fairness import Finding
from nnunet_prosma.host.runs import read_runs
from nnunet_prosma.report.drawing import INK, MUTED, PAPER
from nnunet_prosma.report.latex import booktabs, latex
from nnunet_prosma.report.page import page
from nnunet_prosma.report.table import html_table, minus, together

CSS = resources.files("nnunet_prosma.report").joinpath("page.css").read_text()
PALETTES = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", found)) for found in re.findall(r":root \{([^}]*)\}", CSS)]


def luminance(colour):
    """As WCAG 2.1 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_the_contrast_is_that_of_known_pairs():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("number", range(3))
def test_all_text_has_a_contrast_of_4_5_on_all_that_is_behind_it(number):
    light_dark_print = PALETTES[number]
    for text in ("ink", "muted", "accent", "warn", "good"):
        for behind in ("paper", "card"):
            assert contrast(light_dark_print[text], light_dark_print[behind]) >= 4.5, (text, behind)


def test_plots_have_the_pages_colours():
    assert PALETTES[0]["ink"] == INK
    assert PALETTES[0]["muted"] == MUTED
    assert contrast(MUTED, PAPER) >= 4.5


@pytest.mark.parametrize(
    ("text", "shown"),
    [("-0.5 [-1, +2]", "−0.5 [−1, +2]"), ("a-1", "a-1"), ("2026-11-02", "2026-11-02"), ("5e-05", "5e-05"), ("-", "-")],
)
def test_a_hyphen_before_a_number_is_a_minus_sign(text, shown):
    assert minus(text) == shown


def test_what_belongs_together_is_not_broken():
    gap = "\N{NO-BREAK SPACE}"
    assert together("0.1 [0.0, 0.2]") == f"0.1 [0.0,{gap}0.2]"
    assert together("0.8 ± 0.1") == f"0.8{gap}±{gap}0.1"
    assert together("< 0.001") == f"<{gap}0.001"


def test_the_badge_names_what_differs_the_gravest_first():
    host = Finding("versions", "Host: a in A, b in B.", about="host")
    epochs = Finding("schedule", "Epochs: 3 in A, 1000 in B.", about="epochs")
    cases = Finding("cases", "B was not validated on x.", error=True, allowed=True)
    assert badge([]).kind == badge([Finding("clusters", "Cases may be groups.")]).kind == "same"
    assert badge([host]).text == "Differs only in surroundings: host"
    assert badge([host, epochs]).text == "Differs in epochs"
    assert badge([host, epochs, cases]).text == "Differs in cases, epochs: compared only because of --allow cases"
    assert ordered([host, epochs, cases]) == [cases, epochs, host]


def test_each_pair_has_a_badge_of_its_own_and_what_the_baseline_lacks_concerns_all():
    runs = ["A", "B", "C"]
    epochs = Finding("schedule", "Epochs: 3 in A, 1000 in B.", about="epochs", run="B")
    found = badges([epochs], runs)
    assert (found["B"].text, found["C"].kind) == ("Differs in epochs", "same")
    unfinished = Finding("unfinished", "A has no checkpoint_final.pth.", error=True, allowed=True, run="A")
    assert {mark.kind for mark in badges([unfinished], runs).values()} == {"allowed"}
    assert {mark.kind for mark in badges([Finding("clusters", "n"), Finding("origin", "o")], runs).values()} == {
        "differs"
    }


def test_a_page_shows_one_badge_for_all_runs_or_one_for_each(tmp_path):
    more = {"A": {}, "B": {"debug": {"num_epochs": "250"}}, "C": {}}
    runs = [str(random_run(tmp_path, t, cases=12, labels=1, seed=i, **more[t])) for i, t in enumerate(more)]
    for named, texts in ((runs, ["B: Differs in epochs", "C: Nothing"]), ([runs[0], runs[2]], ["Nothing"])):
        assert main(["compare", "--folders", *named, "-o", str(tmp_path / f"{len(named)}"), "--tables-only"]) == 0
        html = (tmp_path / f"{len(named)}" / "report.html").read_text()
        shown = re.findall(r'<span class="badge \w+">([^<]*)</span>', html)
        assert len(shown) == len(texts)
        assert all(text.startswith(start) for text, start in zip(shown, texts, strict=True))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    differing = {"plan_changes": {"batch_size": 4}, "debug": {"num_epochs": "250", "gpu_name": "H100"}}
    runs = [
        random_run(root, "nnUNetTrainer", cases=30, labels=5, seed=1),
        random_run(root, "nnUNetTrainerProSMA", cases=30, labels=5, seed=2, **differing),
    ]
    assert main(["compare", "--folders", *map(str, runs), "-o", str(root / "report"), "--tables-only"]) == 0
    return root / "report"


def test_the_verdict_stands_before_the_findings_and_says_that_something_differs(report):
    html, markdown = ((report / f"report.{kind}").read_text() for kind in ("html", "md"))
    for text in (html, markdown):
        assert text.index("Differs in epochs, plans") < text.index("Is it a fair comparison?")
        assert text.index("Epochs: 3 in") < text.index("GPU: A100 in")
    assert "-0." not in re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)


def test_latex_runs_no_command_of_a_name():
    assert latex(r"50 % of a_b \input{x} ± −1") == r"50 \% of a\_b \textbackslash{}input\{x\} $\pm$ $-$1"
    text = booktabs(["a", "b"], [("one", [["x & y", "2"]])], "c")
    assert [line for line in text.splitlines() if line.startswith("x")] == [r"x \& y & 2 \\"]
    assert re.findall(r"\\(\w*rule)", text) == ["toprule", "midrule", "bottomrule"]


def test_every_character_that_latex_takes_for_a_command_is_set_as_itself(tmp_path):
    """By pdflatex too, where there is one."""
    given = "\\ & % $ # _ { } ~ ^ < > | \" ' - − ± –"
    shown = (
        r"\textbackslash{} \& \% \$ \# \_ \{ \} \textasciitilde{} \textasciicircum{} $<$ $>$ | "
        "\" ' - $-$ $\\pm$ --"
    )
    assert latex(given).replace("$|$", "|") == shown
    if shutil.which("pdflatex") is None:
        return
    wide = booktabs(["label"] * 9, [("nine columns are wider than a page", [["0.123 [-0.123, +0.123]"] * 9])], "")
    table = booktabs([given, "b"], [(given, [[given, given]])], given) + wide
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}" + table + r"\end{document}"
    (tmp_path / "t.tex").write_text(document)
    said = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True
    )
    assert said.returncode == 0, said.stdout[-2000:]
    assert b"Overfull" not in said.stdout


def test_the_papers_table_has_a_row_for_each_label_and_metric(report):
    lines = (report / "table.tex").read_text().splitlines()
    assert sum(line.startswith("structure 1 &") for line in lines) == 3
    assert all(line.count(" & ") == 5 for line in lines if line.endswith(r"\\") and "multicolumn" not in line)


def timed(root, name, epochs, seconds, **more):
    return random_run(root, name, cases=4, labels=1, folds=1, epochs=epochs, seconds=seconds, **more)


@pytest.mark.parametrize(
    ("epochs", "gpu", "shown"),
    [(25, "A100", "4.0 s (+100.0 %)"), (3, "A100", "4.0 s"), (25, "H100", "4.0 s")],
)
def test_a_percentage_of_time_needs_enough_epochs_and_the_same_device(tmp_path, epochs, gpu, shown):
    folders = [timed(tmp_path, "A", epochs, 2.0), timed(tmp_path, "B", epochs, 4.0, debug={"gpu_name": gpu})]
    costs = [cost(run, ["0"]) for run in read_runs(folders)]
    assert cost_section(costs).tables[0].rows[1][2] == shown
    assert costs[1].seconds_quartiles == (4.0, 4.0)  # without the slow first epoch


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


@needs_browser
def test_a_click_on_a_heading_sorts_numbers_as_numbers(tmp_path):
    rows = [("a", "10 (3 %)"), ("b", "-2.5"), ("c", "–"), ("d", "9.5"), ("e", "< 0.001")]
    file = tmp_path / "page.html"
    file.write_text(page("t", html_table(["name", "value"], rows), "f"))
    names = "[...document.querySelectorAll('tbody th')].map(t => t.innerText).join('')"
    with Browser(tmp_path / "profile") as browser:
        browser.open(file, 600)
        click = "document.querySelectorAll('thead button')[{}].click()"
        seen = []
        for column in (1, 1, 0):
            browser.ask(click.format(column))
            seen.append(browser.ask(names))
        assert browser.ask("document.querySelector('thead th').ariaSort") == "ascending"
        assert browser.problems == []
    assert seen == ["bedac", "cadeb", "abcde"]


@needs_browser
def test_no_table_is_clipped_at_1280_and_print_shows_what_is_folded(report, tmp_path):
    clipped = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    with Browser(tmp_path / "profile") as browser:
        browser.open(report / "report.html", 1280)
        assert browser.ask("document.querySelectorAll('details:not([open])').length") > 2
        browser.ask("dispatchEvent(new Event('beforeprint'))")
        assert browser.ask("document.querySelectorAll('details:not([open])').length") == 0
        assert browser.ask(clipped) == 0
        browser.ask("dispatchEvent(new Event('afterprint'))")
        assert browser.ask("document.querySelectorAll('details[open]').length") == 0
        assert browser.problems == []


@needs_browser
def test_the_page_prints(report, tmp_path):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    pdf = tmp_path / "report.pdf"
    asked = [CHROMIUM, *flags, f"--print-to-pdf={pdf}", (report / "report.html").resolve().as_uri()]
    subprocess.run(asked, check=True, capture_output=True, timeout=300)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert pdf.read_bytes().count(b"/Type /Page\n") >= 3


@pytest.mark.skipif(None in (CHROMIUM, shutil.which("pdftotext")), reason="no chromium, or no pdftotext")
def test_the_heading_of_a_long_table_is_printed_on_each_of_its_pages(tmp_path):
    rows = [(f"row {i}", "1", "2") for i in range(120)]
    (tmp_path / "long.html").write_text(page("Long", html_table(("label", "HEADING", "mean"), rows), "."))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    asked = [CHROMIUM, *flags, f"--print-to-pdf={tmp_path / 'long.pdf'}", (tmp_path / "long.html").resolve().as_uri()]
    subprocess.run(asked, check=True, capture_output=True, timeout=300)
    text = subprocess.run(["pdftotext", tmp_path / "long.pdf", "-"], check=True, capture_output=True, text=True).stdout
    pages = [sheet for sheet in text.split("\f") if "row " in sheet]
    assert len(pages) > 2
    assert all("HEADING" in sheet for sheet in pages)
    assert all(f"row {i}" in text for i in range(120))

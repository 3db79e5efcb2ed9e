"""What a release is made of: declared imports, one version, a page that holds where it will stand."""

import ast
import configparser
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import nnunet_prosma

ROOT = Path(__file__).parent.parent
FOLDERS = ("nnunet_prosma", "trainers", "architectures")
NOT_DECLARED = {
    "triton": "torch brings it where it exists, and only GPU kernels import it",
    "shtab": "the extra completion, and an error that says so",
    "pandas": "nnU-Net brings it, and only to_pandas imports it",
}


def imported() -> dict[str, str]:
    """Each module of others that the package imports, and a file that does."""
    found = {}
    for path in (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module]
            else:
                continue
            found |= {module.partition(".")[0]: str(path.relative_to(ROOT)) for module in modules}
    return {name: file for name, file in found.items() if name not in {*sys.stdlib_module_names, "nnunet_prosma"}}


def test_every_import_is_declared_and_every_declaration_is_imported():
    distributions = metadata.packages_distributions()
    needed = {
        canonicalize_name(distributions[name][0]): file for name, file in imported().items() if name not in NOT_DECLARED
    }
    requirements = map(Requirement, metadata.requires("nnunet-prosma"))
    declared = {canonicalize_name(r.name) for r in requirements if r.marker is None}
    assert {name: file for name, file in needed.items() if name not in declared} == {}
    assert declared - {*needed} == set()


def test_the_version_stands_in_one_place_and_the_citation_and_the_changelog_follow():
    assert metadata.version("nnunet-prosma") == nnunet_prosma.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == nnunet_prosma.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == nnunet_prosma.__version__


def test_every_package_folder_is_in_the_wheel():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    packages = {*settings["options"]["packages"].split()}
    folders = {path.parent.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("__init__.py")}
    named = {".".join(f.parts if f.parts[0] == "nnunet_prosma" else ("nnunet_prosma", *f.parts)) for f in folders}
    assert packages == named


@pytest.fixture
def setup_py(monkeypatch):
    """setup.py's names, and what it would hand to setuptools, for an address of the repository."""

    def run(address):
        handed = {}
        monkeypatch.setattr(setuptools, "setup", lambda **settings: handed.update(settings))
        monkeypatch.setenv("NNUNET_PROSMA_SOURCE_URL", address)
        return handed | runpy.run_path(str(ROOT / "setup.py"))

    return run


def test_links_of_the_page_on_pypi_are_absolute(setup_py):
    page = setup_py("https://host.org/me/it/blob/v1")["long_description"]
    links = re.findall(r"\]\(([^)]+)\)", page) + re.findall(r'(?:src|srcset)="([^"]+)"', page)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert "(https://host.org/me/it/blob/v1/docs/compare.md)" in page


def test_pictures_of_the_page_on_pypi_are_the_files_themselves(setup_py):
    absolute = setup_py("")["absolute"]
    source = "https://host.org/me/it/blob/v1"
    assert absolute("![a](docs/a.png)", source) == "![a](https://host.org/me/it/raw/v1/docs/a.png)"
    assert absolute('<img src="docs/a.png">', source) == '<img src="https://host.org/me/it/raw/v1/docs/a.png">'
    kept = "[b](https://x.org/b) [c](#part)"
    assert absolute(kept, source) == kept


def test_without_an_address_the_page_is_the_readme(setup_py):
    handed = setup_py("")
    assert handed["long_description"] == (ROOT / "README.md").read_text()
    assert set(handed["project_urls"]) == {"nnU-Net", "ProSMA-UNet, the paper"}


def test_a_release_links_to_its_own_source_documents_and_changelog(setup_py):
    urls = setup_py("https://host.org/me/it/blob/v1/")["project_urls"]
    assert (urls["Source"], urls["Issues"]) == ("https://host.org/me/it", "https://host.org/me/it/issues")
    for name in ("Documentation", "Changelog"):
        assert (ROOT / urls[name].removeprefix("https://host.org/me/it/blob/v1/")).is_file()


def test_make_works_in_a_folder_whose_name_has_a_space(tmp_path):
    """make writes no path of the checkout into its commands, so that nothing has to be quoted."""
    folder = tmp_path / "a b"
    (folder / "nnunet_prosma").mkdir(parents=True)
    for name in ("Makefile", "setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        (folder / name).write_text((ROOT / name).read_text())
    for name in ("trainers", "architectures"):
        (folder / name).mkdir()
    for target in ("demo", "test", "lint"):
        words = ["make", "--no-print-directory", "-n", target]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
        assert "a b" not in done.stdout
        assert ".venv/bin/" in done.stdout

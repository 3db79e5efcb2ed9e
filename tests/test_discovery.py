"""That nnU-Net finds the trainers, with no variable set by the user: installed for real, in environments of their own.

The new environments borrow torch and the rest from the one that runs the tests, but neither nnU-Net nor this package.
"""

import json
import os
import re
import shutil
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from datasets import write_dataset
from workspace import EXTENSION, Workspace, run_as_newcomer

from nnunet_prosma import register

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LOOK = """
import inspect, multiprocessing, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

def look(name):
    assert find(name) is find(name)
    return inspect.getfile(find(name))

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("AT", *pool.map(look, sys.argv[1:]))
"""


def succeed(*command, **variables):
    status, out, error = run_as_newcomer(*command, **variables)
    assert status == 0, f"{command}\n{out[-3000:]}\n{error[-3000:]}"
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    source = shutil.copytree(
        ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "nnunet_prosma_demo")
    )
    succeed(sys.executable, "-m", "build", "--outdir", folder / "dist", source)
    return next((folder / "dist").glob("*.tar.gz")), next((folder / "dist").glob("*.whl"))


class Environment:
    def __init__(self, path):
        venv.create(path, with_pip=True)
        self.python = path / "bin" / "python"
        self.packages = Path(
            succeed(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )
        borrowed = path / "borrowed"
        borrowed.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(("nnunet", "__")):
                (borrowed / entry.name).symlink_to(entry)
        (self.packages / "borrowed.pth").write_text(f"{borrowed}\n")

    def pip(self, *arguments):
        succeed(self.python, "-m", "pip", "-q", "--disable-pip-version-check", *arguments)

    def install(self, *arguments):
        self.pip("install", "--no-deps", "--force-reinstall", *arguments)

    def where(self, trainer="nnUNetTrainerProSMA", **variables):
        """The file of the trainer's class, found from another directory, in a process that this environment spawns."""
        script = self.packages.parent / "look.py"
        script.write_text(LOOK)
        found = re.findall("^AT (.*)$", succeed(self.python, script, trainer, **variables), re.MULTILINE)
        return Path(found[0])


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path / "environment")


@pytest.fixture(scope="module")
def nnunet_source(tmp_path_factory):
    """nnU-Net's own source distribution, of the version that is installed."""
    folder = tmp_path_factory.mktemp("nnunet")
    wanted = f"nnunetv2=={metadata.version('nnunetv2')}"
    succeed(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder, wanted)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder)
    return next(path for path in folder.iterdir() if path.is_dir())


def test_the_wheel_puts_the_package_and_its_start_up_files_in_place_and_nothing_else(built):
    _, wheel = built
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    version = wheel.name.split("-")[1]
    assert top == {"nnunet_prosma", f"nnunet_prosma-{version}.dist-info", "nnunet_prosma.pth", "nnunet_prosma.start"}
    for name in (
        "trainers/mixin.py",
        "architectures/gated_unet.py",
        "extension/nnunet_prosma_extension.py",
        "py.typed",
    ):
        assert f"nnunet_prosma/{name}" in names


def test_the_source_distribution_holds_what_a_developer_needs(built):
    sdist, _ = built
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "LICENSE", "CITATION.cff", "CHANGELOG.md", "tests/conftest.py", "trainers/mixin.py"} <= names


def test_installed_it_is_found_and_uninstalled_nothing_is_left(environment, built, nnunet_source):
    before = set(environment.packages.rglob("*"))
    environment.install(built[1])
    environment.install(nnunet_source)
    assert environment.packages in environment.where().parents
    environment.pip("uninstall", "-y", "nnunetv2")
    environment.pip("uninstall", "-y", "nnunet-prosma")
    assert {path for path in environment.packages.rglob("*") if "__pycache__" not in path.parts} <= before
    assert "nnUNet_extTrainer" not in succeed(environment.python, "-c", "import os; print(os.environ)")


def test_beside_an_editable_nnunet_a_training_finds_ours_and_the_users(environment, built, nnunet_source, tmp_path):
    environment.install("-e", nnunet_source)
    environment.install(built[1])
    workspace = Workspace(tmp_path / "workspace", python=environment.python)
    write_dataset(workspace.raw, "Dataset009_Toy", size=(16, 16, 16))
    workspace.plan(9, "-c", "3d_fullres")
    printed = workspace.train(9, "3d_fullres", "all", "nnUNetTrainerProSMAShort", SHORT_TRAINER_EPOCHS="1")
    assert "Gates on 2 skips" in printed
    status = workspace.run("nnUNetv2_train", 9, "3d_fullres", "all", "-tr", "NoSuchTrainer", "-device", "cpu", status=1)
    where = re.search(r"nnUNet_extTrainer=(.*)$", status, re.MULTILINE)[1]
    assert where.split(os.pathsep) == [str(EXTENSION), str(environment.packages / "nnunet_prosma" / "extension")]
    imported = succeed(environment.python, "-c", "import nnunetv2; print(nnunetv2.__file__)").strip()
    assert nnunet_source.resolve() in Path(imported).resolve().parents


def test_it_outlives_a_reinstallation_of_nnunet(environment, built, nnunet_source):
    environment.install(built[1])
    environment.install(nnunet_source)
    assert (environment.packages / "nnunetv2").is_dir()
    assert environment.packages in environment.where().parents
    environment.install("-e", nnunet_source)
    assert environment.packages in environment.where().parents


def test_without_start_up_files_doctor_says_what_to_export_and_that_helps(environment, built, nnunet_source, tmp_path):
    environment.install(nnunet_source)
    target = tmp_path / "target"
    environment.pip("install", "--no-deps", "--target", target, built[1])
    doctor = (environment.python, "-m", "nnunet_prosma.command", "doctor")
    status, out, _ = run_as_newcomer(*doctor, PYTHONPATH=str(target))
    assert status == 1
    assert "trainer nnUNetTrainerProSMA: NOT FOUND" in out
    assert "export nnUNet_extTrainer=$(nnunet-prosma trainer-path)" in out.splitlines()[-1]
    path = succeed(environment.python, "-m", "nnunet_prosma.command", "trainer-path", PYTHONPATH=str(target)).strip()
    report = json.loads(succeed(*doctor, "--json", PYTHONPATH=str(target), nnUNet_extTrainer=path))
    assert report["trainer"]["found"]
    assert report["trainer"]["through"] == path
    assert str(target) in report["trainer"]["file"]


def test_registration_loads_two_small_modules_of_ours_and_none_of_others(environment, built):
    loaded = environment.python, "-c", "import sys; print(*sys.modules)"
    before = set(succeed(*loaded).split())
    environment.install(built[1])
    assert set(succeed(*loaded).split()) - before == {"nnunet_prosma", "nnunet_prosma.register"}
    for name in ("__init__.py", "register.py"):  # Python reads them at each start
        assert (environment.packages / "nnunet_prosma" / name).stat().st_size < 3000


REGISTER = "import os, nnunet_prosma.register as r; r.register(); r.register(); print(os.environ.get(r.VARIABLE))"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, register.DIRECTORY),
        ({"nnUNet_extTrainer": ""}, register.DIRECTORY),
        ({"nnUNet_extTrainer": "/mine:/theirs"}, f"/mine:/theirs:{register.DIRECTORY}"),
        ({"nnUNet_extTrainer": f"{register.DIRECTORY}:/mine"}, f"{register.DIRECTORY}:/mine"),
        ({"NNUNET_PROSMA_REGISTER": "0"}, "None"),
        ({"NNUNET_PROSMA_REGISTER": "0", "nnUNet_extTrainer": "/mine"}, "/mine"),
    ],
)
def test_our_directory_is_appended_once_behind_the_users(variables, expected):
    assert succeed(sys.executable, "-c", REGISTER, **variables).strip() == expected


def test_an_environment_that_inherits_the_variable_but_lacks_the_package_goes_on():
    code = f"import sys; sys.path.insert(0, {register.DIRECTORY!r}); import nnunet_prosma_extension as e; print(dir(e))"
    status, out, error = run_as_newcomer(sys.executable, "-S", "-c", code)
    assert status == 0
    assert "nnUNetTrainer" not in out
    assert f"nnunet-prosma is not installed for {sys.executable}" in error

"""The parts of a bundle that need no training: manifest, postprocessing, wheel, requirements, resampling by class."""

import json
import pickle
import re
import subprocess
import venv
import zipfile
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.postprocessing.remove_connected_components import (
    apply_postprocessing,
    remove_all_but_largest_component_from_segmentation,
)
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from packaging.version import Version

from nnunet_prosma.bundle.class_by_class import segmentation_of
from nnunet_prosma.bundle.manifest import read_manifest, write_manifest
from nnunet_prosma.bundle.postprocessing import read_pickle, steps
from nnunet_prosma.bundle.requirements import closure
from nnunet_prosma.bundle.wheel import write_wheel
from nnunet_prosma.errors import InputError

FILES = ("requirements.txt", "models/one/plans.json", "models/one/fold_0/checkpoint_final.pth", "wheels/a.whl")


@pytest.fixture
def bundle(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    write_manifest(tmp_path, {"models": []})
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_in_any_file_is_named(bundle, name):
    assert read_manifest(bundle)["models"] == []
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(InputError, match=f"not as it was made: {name} was changed; copy it again"):
        read_manifest(bundle)


def test_a_missing_and_an_added_file_are_named(bundle):
    (bundle / FILES[1]).unlink()
    (bundle / "models" / "extra.pth").write_bytes(b"x")
    with pytest.raises(InputError, match=r"models/extra.pth was added; models/one/plans.json is missing"):
        read_manifest(bundle)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1, "files": 3}'])
def test_a_damaged_manifest_is_named(bundle, content):
    (bundle / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        read_manifest(bundle)
    with pytest.raises(InputError, match="is no bundle"):
        read_manifest(bundle / "models")


def test_a_manifest_of_a_later_format_is_not_guessed_at(bundle):
    later = json.loads((bundle / "manifest.json").read_text()) | {"format": 3}
    (bundle / "manifest.json").write_text(json.dumps(later))
    with pytest.raises(InputError, match="of format 3, and this version reads formats 1 and 2"):
        read_manifest(bundle)


@pytest.mark.parametrize("labels", [[1, 2], 2, (1, 2), [(1, 2), 2]], ids=str)
def test_postprocessing_survives_as_json(tmp_path, labels):
    """As determine_postprocessing pickles it, numpy's whole numbers included, and applied as nnU-Net does."""
    rng = np.random.default_rng(0)
    segmentation = rng.integers(0, 3, (6, 7, 8)) * (rng.random((6, 7, 8)) < 0.4)
    function, arguments = remove_all_but_largest_component_from_segmentation, {"labels_or_regions": labels}
    expected = apply_postprocessing(segmentation, [function], [arguments])
    stored = [np.int64(v) for v in labels] if labels == [1, 2] else labels
    (tmp_path / "postprocessing.pkl").write_bytes(pickle.dumps(([function], [{"labels_or_regions": stored}])))
    content = json.loads(json.dumps(read_pickle(tmp_path / "postprocessing.pkl")))
    assert not np.array_equal(expected, segmentation)
    np.testing.assert_array_equal(apply_postprocessing(segmentation, *steps(content)), expected)


def test_a_pickle_that_names_anything_else_is_refused_unexecuted(tmp_path):
    path = tmp_path / "postprocessing.pkl"
    path.write_bytes(pickle.dumps(([subprocess.check_call], [{"args": ["touch", str(tmp_path / "executed")]}])))
    with pytest.raises(InputError, match=r"names subprocess.check_call, and only nnU-Net's own"):
        read_pickle(path)
    path.write_bytes(b"cposix\nsystem\n(S'touch " + str(tmp_path / "executed").encode() + b"'\ntR.")
    with pytest.raises(InputError, match=r"names posix.system"):
        read_pickle(path)
    assert not (tmp_path / "executed").exists()


def test_the_wheel_made_of_the_installed_package_installs_and_holds_the_same_files(tmp_path):
    wheel = write_wheel(tmp_path)
    assert wheel.read_bytes() == write_wheel(tmp_path / "again").read_bytes()
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    shown = [
        python,
        "-c",
        "import nnunet_prosma, os; print(nnunet_prosma.__version__, os.environ['nnUNet_extTrainer'])",
    ]
    version, extension = subprocess.run(shown, capture_output=True, text=True, check=True, env={}).stdout.split()
    assert version == metadata.version("nnunet-prosma")
    assert extension.startswith(str(tmp_path / "fresh"))  # the start-up file works
    command = subprocess.run([tmp_path / "fresh/bin/nnunet-prosma", "--version"], capture_output=True, text=True)
    assert command.stdout.split() == ["nnunet-prosma", version]
    installed = {str(f) for f in metadata.files("nnunet-prosma") if "__pycache__" not in str(f)}
    left_out = {str(f) for f in installed} - {*zipfile.ZipFile(wheel).namelist()}
    assert {name.rpartition("/")[2] for name in left_out} <= {
        "nnunet-prosma",
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
    }


def test_an_editable_install_is_refused(tmp_path, monkeypatch):
    pointer = [metadata.PackagePath("__editable__.nnunet_prosma-0.1.0.pth")]
    editable = SimpleNamespace(files=pointer, version="0.1.0", locate_file=str)
    monkeypatch.setattr(metadata, "distribution", lambda _: editable)
    with pytest.raises(InputError, match=r"editable.*pip install \.\), or give a wheel of it with --wheel"):
        write_wheel(tmp_path)


def test_the_requirements_are_closed():
    """Each unconditional need of each pinned package is pinned too, as it is installed here."""
    versions = closure()
    assert {"nnunet-prosma", "nnunetv2", "torch", "numpy", "simpleitk", "blosc2", "acvl-utils"} <= versions.keys()
    assert not {"pytest", "ruff", "mypy"} & versions.keys()
    for name, version in versions.items():
        assert Version(metadata.version(name)).public == version
        for line in metadata.requires(name) or []:
            if ";" not in line:
                needed = re.match(r"[\w.-]+", line).group()
                assert re.sub(r"[-_.]+", "-", needed).lower() in versions


def test_an_environment_that_pip_could_not_install_again_is_refused(monkeypatch):
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.0" if name == "numpy" else installed(name))
    with pytest.raises(
        InputError, match=r"has numpy 1.0, but .* needs .*>=.*: such a list cannot be installed elsewhere"
    ):
        closure()


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_class_by_class_gives_nnunets_segmentation(regions, dtype):
    rng = np.random.default_rng(1)
    logits = torch.from_numpy(rng.standard_normal((4 if regions else 5, 5, 9, 8))).to(dtype)
    labels = {"background": 0, "a": 1, "b": 2, "c": 3, "d": 4, "as background": 5}
    if regions:
        labels = {"background": 0, "whole": [1, 2, 3, 4], "inner": [2, 3], "core": 3, "rim": 4}
    manager = LabelManager(labels, [1, 2, 3, 4] if regions else None)
    if not regions:
        logits = torch.cat([logits, logits[:1]])  # never larger than the background, so never chosen

    def resample(data, new_shape, spacing, new_spacing):
        return resample_data_or_seg_to_shape(data, new_shape, spacing, new_spacing, False, 1, 0, None)

    configuration = SimpleNamespace(spacing=[2.0, 1.0, 1.0], resampling_fn_probabilities=resample)
    plans = SimpleNamespace(transpose_forward=[1, 0, 2], transpose_backward=[1, 0, 2])
    properties = {
        "spacing": [0.7, 3.0, 0.9],
        "shape_before_cropping": (9, 16, 13),
        "bbox_used_for_cropping": [[1, 8], [2, 15], [0, 11]],
        "shape_after_cropping_and_before_resampling": (7, 13, 11),
    }
    expected = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, manager, properties
    )
    ours = segmentation_of(logits, plans, configuration, manager, properties)
    assert len(np.unique(expected)) == 5
    np.testing.assert_array_equal(ours, expected)
    assert ours.dtype == expected.dtype

"""A bundle whose weights, manifest or names were crafted: each fault is one sentence, and no script executes a name."""

import os
import shutil
import subprocess

import pytest
import torch
from foreign import FIXTURE, MANIFEST, Bundle, weights

from nnunet_prosma import command


@pytest.fixture
def bundle(tmp_path, capsys):
    return Bundle(tmp_path, capsys)


def first(content):
    return next(iter(content["network_weights"]))


MISFITS = {
    "no weights": (lambda c: c.pop("network_weights"), "must be a checkpoint of nnU-Net"),
    "a tensor less": (lambda c: c["network_weights"].pop(first(c)), "is missing in the checkpoint"),
    "a tensor more": (lambda c: c["network_weights"].update(x=torch.zeros(1)), "x is (1,) in the checkpoint, missing"),
    "another shape": (
        lambda c: c["network_weights"].update({first(c): torch.zeros(3)}),
        "is (3,) in the checkpoint, (",
    ),
    "no tensor": (lambda c: c["network_weights"].update({first(c): 3}), "must be a tensor"),
    "axes": (lambda c: c.update(inference_allowed_mirroring_axes=(0, 7)), "must hold axes from 0 to 2"),
    "axes as text": (lambda c: c.update(inference_allowed_mirroring_axes="01"), "must hold axes from 0 to 2"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_do_not_fit_are_one_sentence(bundle, misfit):
    change, sentence = MISFITS[misfit]
    weights(bundle, change)
    said = bundle.refused("predict")
    assert sentence in said
    assert "checkpoint_final.pth" in said
    if not misfit.startswith("axes"):  # which the container finds out when it predicts
        assert sentence in bundle.refused("container")


def test_a_network_that_cannot_be_built_is_no_container(bundle):
    def spoil(plans):
        for configuration in plans["configurations"].values():
            if "architecture" in configuration:
                configuration["architecture"]["arch_kwargs"]["kernel_sizes"] = {}

    bundle.change("plans.json", spoil)
    assert "cannot be built" in bundle.refused("container")


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"PK\x03\x04"])
def test_a_checkpoint_that_is_none_is_one_sentence(bundle, content):
    (bundle.folder / "fold_0" / "checkpoint_final.pth").write_bytes(content)
    assert "cut off or damaged" in bundle.refused("predict")
    assert "cut off or damaged" in bundle.refused("container")


CRAFTED = {
    "no models": {"models": None},
    "models that are none": {"models": [3]},
    "a model twice": {"models": MANIFEST["models"] * 2},
    "folds that lead out": {"models": [{**MANIFEST["models"][0], "folds": ["../0"]}]},
    "folds that are numbers": {"models": [{**MANIFEST["models"][0], "folds": [0]}]},
    "no folds": {"models": [{**MANIFEST["models"][0], "folds": []}]},
    "another function": {"postprocessing": [{"function": "os.system", "arguments": {"labels_or_regions": 1}}]},
    "other arguments": {
        "postprocessing": [
            {
                "function": "remove_all_but_largest_component_from_segmentation",
                "arguments": {"labels_or_regions": 1, "command": "x"},
            }
        ]
    },
    "no postprocessing": {"postprocessing": ...},
    "no Python": {"python": ...},
    "half a character": {"python": "\ud800"},
    "a version that is none": {"versions": {"nnunet-prosma": "1; touch /tmp/x"}},
}


@pytest.mark.parametrize("name", ["predict", "container"])
@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_manifest_is_one_sentence(bundle, crafted, name):
    bundle.manifest.update(CRAFTED[crafted])
    bundle.manifest = {key: value for key, value in bundle.manifest.items() if value is not ...}
    assert "manifest.json is damaged" in bundle.refused(name)


def test_a_file_ending_that_leads_out_is_refused(bundle):
    bundle.change("dataset.json", lambda dataset: dataset.update(file_ending="/../x.nii.gz"))
    assert "$.file_ending must be such as .nii.gz" in bundle.refused("predict")


SOCKETS = ["images/$(touch executed)", "images/`touch executed`", "a\ntouch executed", "a; touch executed", 'a"b', "-a"]


@pytest.mark.parametrize("flag", ["--input", "--output"])
@pytest.mark.parametrize("path", [*SOCKETS, "../a", "/a", ".", "", "a/../../b"])
def test_a_sockets_path_is_plain(bundle, flag, path):
    given = f"{flag}={path}=0" if flag == "--input" else f"{flag}={path}"
    assert f"{flag} takes the relative path of a socket" in bundle.refused("container", given)


def test_a_data_sets_name_executes_nothing_in_the_scripts(bundle, tmp_path, monkeypatch):
    """They are run with a docker that only notes what it is given."""
    named = f'Dataset001_"; touch {tmp_path}/executed; $(touch {tmp_path}/executed)\ntouch {tmp_path}/executed\n'
    named += 300 * "x"  # longer than a file may be called
    bundle.change("plans.json", lambda plans: plans.update(dataset_name=named))
    status, said = bundle.run("container")
    assert status == 0, said
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> "$NOTES"\n')
    (tmp_path / "bin" / "docker").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes")}
    (tmp_path / "submission" / "test" / "input" / "images" / "t2" / "x.mha").write_text("")
    for script in ("do_build.sh", "do_test_run.sh", "do_save.sh"):
        subprocess.run([tmp_path / "submission" / script], env=env, check=True, capture_output=True)
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "submission" / "executed").exists()
    assert "build --platform=linux/amd64 --tag dataset001" in (tmp_path / "notes").read_text()


def test_a_container_installs_this_package_and_not_the_bundles_wheel(bundle):
    (wheel,) = (bundle.path / "bundle" / "wheels").iterdir()
    wheel.write_bytes(b"code of whoever made the bundle")
    status, said = bundle.run("container")
    assert status == 0, said
    made = bundle.path / "submission"
    (taken,) = (made / "wheels").iterdir()
    assert taken.read_bytes()[:2] == b"PK"
    requirements = (made / "requirements.txt").read_text().splitlines()
    assert requirements[-1] == f"nnunet-prosma=={taken.name.split('-')[1]}"
    assert sum("nnunet-prosma" in line for line in requirements) == 1
    dockerfile = (made / "Dockerfile").read_text()
    assert "COPY wheels " in dockerfile
    assert "bundle/wheels" not in dockerfile


@pytest.mark.parametrize("line", ["--index-url http://x", "torch @ http://x", "-r /etc/passwd", "numpy>=1", "a==1 --x"])
def test_requirements_that_are_not_pins_are_refused(bundle, line):
    path = bundle.path / "bundle" / "requirements.txt"
    path.write_text(f"{path.read_text()}{line}\n")
    assert f"may only hold lines such as numpy==2.1.0, and holds {line!r}" in bundle.refused("container")


def test_a_case_that_is_cut_off_is_named_the_others_are_segmented_and_the_status_is_2(bundle, capsys):
    """SimpleITK reads the half of a .nii.gz as zeros."""
    images = bundle.path / "images"
    images.mkdir()
    whole = FIXTURE / "images" / "case_009_0000.nii.gz"
    shutil.copy(whole, images / "b_0000.nii.gz")
    (images / "a_0000.nii.gz").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (images / "c_0000.nii.gz").symlink_to("nowhere.nii.gz")  # nnU-Net passes over it
    shutil.copy(whole, images / "d_0001.nii.gz")  # nnU-Net takes it for the first channel
    shutil.copy(whole, images / "label.nii.gz")
    out = bundle.path / "out"
    status = command.main(["predict", str(FIXTURE / "bundle"), "-i", str(images), "-o", str(out), "-device", "cpu"])
    said = capsys.readouterr().err
    assert status == 2
    assert "a is left out: " in said
    assert "a_0000.nii.gz cannot be read" in said
    assert "c_0000.nii.gz is no file, or a link that leads nowhere" in said
    assert "d_0000.nii.gz is missing" in said
    assert f"passed over: {images / 'label.nii.gz'}, since images are named CASE_0000.nii.gz" in said
    assert "3 of 4 cases could not be segmented: a, c, d" in said
    assert os.listdir(out) == ["b.nii.gz"]
    before = (out / "b.nii.gz").read_bytes()
    assert command.main(["predict", str(FIXTURE / "bundle"), "-i", str(images), "-o", str(out), "-device", "cpu"]) == 2
    assert "b.nii.gz is there already and is not replaced" in capsys.readouterr().err
    assert (out / "b.nii.gz").read_bytes() == before

"""A bundle that somebody sent executes nothing, leads nowhere outside of itself, and each fault is one sentence."""

import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import torch

from nnunet_prosma import command
from nnunet_prosma.bundle.allowed import require_allowed
from nnunet_prosma.bundle.manifest import write_manifest
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup

FIXTURE = Path(__file__).parent / "fixtures" / "v0_1"
MANIFEST = json.loads((FIXTURE / "bundle" / "manifest.json").read_text())
(MODEL,) = (model["name"] for model in MANIFEST["models"])


class Bundle:
    """A copy to be tampered with; predict and container are given it with a manifest made anew."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys
        shutil.copytree(FIXTURE / "bundle", path / "bundle")
        self.folder = path / "bundle" / "models" / MODEL
        self.manifest = {key: value for key, value in MANIFEST.items() if key not in ("format", "files")}

    def change(self, file, change):
        path = self.folder / file
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    def run(self, name, *options, seal=True):
        """The status, and what was said."""
        if seal:
            write_manifest(self.path / "bundle", self.manifest)
        if name == "predict":
            options = ("-i", str(FIXTURE / "images"), "-o", str(self.path / "out"), "-device", "cpu", *options)
        else:
            options = ("--input", "images/t2", "--output", "images/out", "-o", str(self.path / "submission"), *options)
        status = command.main([name, str(self.path / "bundle"), *options])
        return status, self.capsys.readouterr().err

    def refused(self, name, *options, seal=True):
        """The sentence; one, and nothing was written."""
        status, said = self.run(name, *options, seal=seal)
        assert status == 2, said
        assert "Traceback" not in said
        assert not (self.path / "out").exists()
        assert not (self.path / "submission").exists()
        return said


@pytest.fixture
def bundle(tmp_path, capsys):
    return Bundle(tmp_path, capsys)


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that leaves a trace as soon as it is imported; and the trace."""
    trace = tmp_path / "executed"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(trace)!r}).touch()\n\ndef call(*_, **__):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    return trace


def architecture(plans):
    return plans["configurations"]["3d_fullres"]["architecture"]


def kwarg(name, value):
    def change(plans):
        architecture(plans)["arch_kwargs"][name] = value
        architecture(plans)["_kw_requires_import"] = [*architecture(plans)["_kw_requires_import"], name]

    return change


def setting(name, value):
    return lambda plans: plans["configurations"]["3d_fullres"].update({name: value})


ATTACKS = {
    "network": lambda plans: architecture(plans).update(network_class_name="evil.call"),
    "torch.hub.load": lambda plans: architecture(plans).update(network_class_name="torch.hub.load"),
    "network as a vanilla one's namesake": lambda plans: architecture(plans).update(
        network_class_name="evil.PlainConvUNet"
    ),
    **{name: kwarg(name, "evil.call") for name in ("conv_op", "norm_op", "nonlin", "dropout_op", "gate", "more")},
    "list in the place of a name": kwarg("nonlin", ["evil.call"]),
    "reader": lambda plans: plans.update(image_reader_writer="evil"),
    "reader that is another thing of nnU-Net's": lambda plans: plans.update(image_reader_writer="recursive_find_x"),
    "label manager": lambda plans: plans.update(label_manager="evil"),
    "preprocessor": setting("preprocessor_name", "multiprocessing"),
    "normalisation": setting("normalization_schemes", ["evil"]),
    **{f"resampling {kind}": setting(f"resampling_fn_{kind}", "evil") for kind in ("data", "seg", "probabilities")},
    "imported though no argument": lambda plans: (
        architecture(plans).update(network_class_name="os.system")
        or architecture(plans)["_kw_requires_import"].append("of_nothing")
    ),
    "block": kwarg("block", "evil.call"),
    "nonlinearity that is no layer": kwarg("nonlin", "torch.hub.load"),
    "layer by way of another module": kwarg("nonlin", "torch.nn.modules.activation.torch.hub.load"),
    "convolution below another module": kwarg("conv_op", "evil.call.Conv3d"),
    "preprocessor of another letter": setting("preprocessor_name", "defaultPreprocessor"),
    "normalisation as text": setting("normalization_schemes", ["ZScoreNormalization.evil"]),
    "inherited": lambda plans: (
        plans["configurations"].update(
            base={**plans["configurations"]["3d_fullres"], "preprocessor_name": "evil"},
        )
        or plans["configurations"]["3d_fullres"].update(inherits_from="base")
        or plans["configurations"]["3d_fullres"].pop("preprocessor_name")
    ),
}


@pytest.mark.parametrize("name", ["predict", "container"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_plans_that_name_anything_but_known_parts_are_refused_unexecuted(bundle, evil, name, attack):
    bundle.change("plans.json", ATTACKS[attack])
    said = bundle.refused(name)
    assert "plans.json: $." in said
    assert "a bundle may only use parts of nnU-Net, torch and nnunet-prosma" in said
    assert not evil.exists()


def test_the_untouched_bundle_is_allowed_and_ones_own_network_is_still_nnunets_matter(bundle):
    """The list is for bundles; the types of a training folder take any name."""
    plans = json.loads((bundle.folder / "plans.json").read_text())
    dataset = Dataset.read(bundle.folder / "dataset.json")
    require_allowed(Setup(Plans.of(plans, "plans.json"), "3d_fullres", dataset))
    architecture(plans)["network_class_name"] = "mine.Network"
    assert Setup(Plans.of(plans, "plans.json"), "3d_fullres", dataset).network_class == "mine.Network"


UNREAD = {
    "planner": lambda plans, dataset: plans.update(experiment_planner_used="evil"),
    "reader of the data set": lambda plans, dataset: dataset.update(overwrite_image_reader_writer="evil"),
    "another configuration": lambda plans, dataset: plans["configurations"].update(
        evil={**plans["configurations"]["3d_fullres"], "preprocessor_name": "evil", "normalization_schemes": ["evil"]}
    ),
    "an argument that is not imported": lambda plans, dataset: architecture(plans)["arch_kwargs"].update(
        nonlin_kwargs={"inplace": True}, dropout_op=None
    ),
}


@pytest.mark.parametrize("unread", UNREAD)
def test_names_that_no_prediction_asks_for_stay_names(bundle, evil, unread):
    files = {name: json.loads((bundle.folder / f"{name}.json").read_text()) for name in ("plans", "dataset")}
    UNREAD[unread](*files.values())
    for name, content in files.items():
        (bundle.folder / f"{name}.json").write_text(json.dumps(content))
    weights(bundle, lambda content: content.update(trainer_name="evil"))
    for name in ("predict", "container"):
        status, said = bundle.run(name)
        assert status == 0, said
    assert not evil.exists()


@pytest.mark.parametrize("name", ["predict", "container"])
def test_the_configuration_and_each_part_of_an_ensemble_that_a_manifest_names_are_held_to_the_list(bundle, evil, name):
    UNREAD["another configuration"](plans := json.loads((bundle.folder / "plans.json").read_text()), None)
    (bundle.folder / "plans.json").write_text(json.dumps(plans))
    (model,) = MANIFEST["models"]
    bundle.manifest["models"] = [{**model, "configuration": "evil"}]
    assert "$.configurations.evil.preprocessor_name names 'evil'" in bundle.refused(name)
    shutil.copytree(bundle.folder, bundle.folder.with_name("second"))
    bundle.manifest["models"] = [model, {**model, "name": "second", "configuration": "evil"}]
    assert "second/plans.json: $.configurations.evil.preprocessor_name names 'evil'" in bundle.refused(name)
    assert not evil.exists()


@pytest.mark.parametrize("payload", ["code in the weights", "code beside the weights"])
def test_code_in_a_checkpoint_is_refused_unexecuted(bundle, tmp_path, payload):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {shlex.quote(str(tmp_path / 'executed'))}",)

    path = bundle.folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    (content["network_weights"] if "in" in payload else content)["x"] = Payload()
    torch.save(content, path)
    assert "holds more than weights and plain values" in bundle.refused("predict")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("where", ["../../outside", "/etc", "..", ".", "", "a/../../b", "a\\b", "a\nb", "x y"])
def test_a_models_name_does_not_lead_out_of_the_bundle(bundle, where):
    shutil.copytree(bundle.folder, bundle.path / "outside")
    bundle.manifest["models"] = [{**MANIFEST["models"][0], "name": where}]
    for name in ("predict", "container"):
        assert "`name`" in (said := bundle.refused(name)) or "name must be a folder's name" in said


@pytest.mark.parametrize("what", ["models", f"models/{MODEL}", f"models/{MODEL}/plans.json", f"models/{MODEL}/fold_1"])
def test_a_link_in_a_bundle_is_seen(bundle, what):
    place = bundle.path / "bundle" / what
    if place.exists():
        shutil.move(place, bundle.path / "outside")
        place.symlink_to(bundle.path / "outside")
    else:
        place.symlink_to(bundle.folder / "fold_0")
    for name in ("predict", "container"):
        assert f"{what} is a link to elsewhere" in bundle.refused(name, seal=False)
        assert f"{what} is a link to elsewhere" in bundle.refused(name, seal=place.is_file())


PLACED = {
    "a pipe": os.mkfifo,
    "a device": lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),  # /dev/zero
    "a folder": os.mkdir,
    "a hard link to another file": lambda path: os.link(__file__, path),
}


@pytest.mark.parametrize("placed", PLACED)
def test_what_is_no_plain_file_of_its_own_is_not_read(bundle, placed):
    """The manifest says of it what it said of the file."""
    write_manifest(bundle.path / "bundle", bundle.manifest)
    for file in (bundle.folder / "plans.json", bundle.path / "bundle" / "manifest.json"):
        file.rename(bundle.path / "kept")
        try:
            PLACED[placed](file)
        except OSError:
            pytest.skip("not allowed here")
        for name in ("predict", "container"):
            said = bundle.refused(name, seal=False)
            assert re.search(r"plans\.json (was changed|is missing)|has no manifest|manifest\.json is damaged", said), (
                said
            )
        os.rmdir(file) if file.is_dir() else file.unlink()
        (bundle.path / "kept").rename(file)


@pytest.mark.parametrize("path", ["../outside.json", "/etc/passwd", "models/../../outside.json", "..\\outside.json"])
def test_a_manifests_files_and_smoothing_do_not_lead_out(bundle, path):
    (bundle.path / "outside.json").write_text("{}")
    write_manifest(bundle.path / "bundle", {**bundle.manifest, "smoothing": path})
    manifest = json.loads((bundle.path / "bundle" / "manifest.json").read_text())
    assert "$.smoothing must be a file of the bundle" in bundle.refused("predict", seal=False)
    manifest["files"][path] = {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    (bundle.path / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    for name in ("predict", "container"):
        assert f"{path} is missing" in bundle.refused(name, seal=False)


def weights(bundle, change):
    path = bundle.folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


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

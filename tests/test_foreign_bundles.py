"""A bundle that somebody sent executes nothing, and leads nowhere outside of itself."""

import hashlib
import json
import os
import re
import shlex
import shutil
import stat

import pytest
import torch
from foreign import MANIFEST, MODEL, Bundle, weights

from nnunet_prosma.bundle.allowed import require_allowed
from nnunet_prosma.bundle.manifest import write_manifest
from nnunet_prosma.host.dataset_json import Dataset
from nnunet_prosma.host.plans import Plans, Setup


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

"""A bundle that somebody sent: a copy of the one that version 0.1 made, to be tampered with."""

import json
import shutil
from pathlib import Path

import torch

from nnunet_prosma import command
from nnunet_prosma.bundle.manifest import write_manifest

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


def weights(bundle, change):
    path = bundle.folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)

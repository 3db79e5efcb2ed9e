"""What is read of nnU-Net's files without torch is what nnU-Net and torch read of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_workspace import random_run
from networks import build
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_prosma.architectures import ProSMAUNet
from nnunet_prosma.errors import InputError
from nnunet_prosma.host.labels import foreground, key_from_text, key_of, read_labels
from nnunet_prosma.host.parameters import count_parameters
from nnunet_prosma.host.plans import resolved

LABELS = {
    "two": ({"background": 0, "liver": 1, "tumour": 2}, None),
    "not in order": ({"tumour": 2, "background": 0, "liver": 1}, None),
    "ignored": ({"background": 0, "a": 1, "b": 2, "ignore": 3}, None),
    "lists of one": ({"background": 0, "a": [1], "b": 2}, None),
    "regions": ({"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}, [1, 2, 3]),
    "a region that is a number": ({"background": 0, "whole": [1, 2], "core": 2}, [1, 2]),
    "regions and ignored": ({"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, [1, 2]),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_and_regions_are_those_of_nnunets_label_manager(name):
    labels, order = LABELS[name]
    manager = LabelManager(labels, order)
    wanted = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    names, ignored = foreground(labels, order)
    assert list(names) == [key_of(key) for key in wanted]
    assert ignored == manager.ignore_label
    assert set(names.values()) == set(labels) - {"background", "ignore"}


@pytest.mark.parametrize(
    ("labels", "order", "message"),
    [
        ({"a": 1}, None, "background"),
        ({"background": 1, "a": 2}, None, "background"),
        ({"background": [0], "a": 1}, None, "background"),
        ({"background": 0, "a": 1, "ignore": 1}, None, "must be 2, the highest"),
        ({"background": 0, "a": 1, "ignore": [2]}, None, "must be a number"),
        ({"background": 0, "a": [1, 2]}, None, "regions_class_order"),
        ({"background": 0, "a": [1, 2]}, [1, 2], "for each of the 1 regions"),
    ],
)
def test_what_nnunet_refuses_is_refused(labels, order, message):
    with pytest.raises((AssertionError, RuntimeError)):
        LabelManager(labels, order)
    with pytest.raises(InputError, match=message):
        read_labels(Path("dataset.json"), {"labels": labels, "regions_class_order": order})


def test_keys_of_a_summary_are_numbers_and_tuples():
    assert [key_from_text(text) for text in ("3", "(1, 2)", "(2,)")] == [3, (1, 2), (2,)]


def test_a_configuration_inherits_as_nnunet_lets_it():
    architecture = {"network_class_name": "x", "arch_kwargs": {}}
    tree = {
        "base": {"spacing": [1, 1], "batch_size": 2, "architecture": architecture},
        "middle": {"inherits_from": "base", "batch_size": 4},
        "leaf": {"inherits_from": "middle", "spacing": [3, 3]},
    }
    for name in tree:
        assert resolved(tree, name) == PlansManager({"configurations": tree}).get_configuration(name).configuration
    tree["base"]["inherits_from"] = "leaf"
    with pytest.raises(InputError, match="leads back"):
        resolved(tree, "leaf")


def save(path, network, **more):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.zeros(2, 1, 8, 8)).sum().backward()
    optimizer.step()
    torch.save(
        {
            "network_weights": network.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "logging": {"dice": [np.float64(0.5), np.float32(0.25)], "array": np.arange(3.0)},
            "init_args": {"fold": 0},
            **more,
        },
        path,
    )


def test_parameters_are_counted_once_and_without_buffers(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    network.add_module("again", torch.nn.Sequential(network[0]))
    network.forward = lambda x: network[1](network[0](x))
    save(tmp_path / "a.pth", network)
    assert count_parameters(tmp_path / "a.pth") == sum(p.numel() for p in network.parameters()) == 4 * 9 + 4 + 8


def test_the_parameters_of_gates_are_counted_too(tmp_path):
    """One of their tensors tells their settings, so it is stored in another way."""
    network = build(ProSMAUNet, 2)
    torch.save({"network_weights": network.state_dict()}, tmp_path / "a.pth")
    assert count_parameters(tmp_path / "a.pth") == sum(p.numel() for p in network.parameters())


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_nothing_in_a_checkpoint_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "bomb.pth", torch.nn.Conv2d(1, 2, 1), more=Bomb())
    assert count_parameters(tmp_path / "bomb.pth") == 4
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_what_is_no_checkpoint_has_no_number(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    assert count_parameters(tmp_path / "a.pth") is None
    assert count_parameters(tmp_path / "missing.pth") is None


HEAVY = ("torch", "matplotlib", "SimpleITK", "pandas", "skimage", "surface_distance")
COUNTED = f"""
import sys
from nnunet_prosma.command import main
assert main(["compare", *sys.argv[1:]]) == 0
print([name for name in {HEAVY} if name in sys.modules])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the largest resident size is read from /proc")
def test_tables_import_nothing_heavy_and_stay_small_with_a_thousand_cases(tmp_path):
    runs = [random_run(tmp_path, t, cases=1000, labels=10, seed=s, absent=0.02) for s, t in enumerate(("A", "B"))]
    asked = ["--folders", *map(str, runs), "-o", str(tmp_path / "report"), "--tables-only"]
    done = subprocess.run([sys.executable, "-c", COUNTED, *asked], capture_output=True, text=True, check=True)
    *_, heavy, kilobytes = done.stdout.splitlines()
    assert heavy == "[]"
    assert int(kilobytes) < 400 * 1000
    assert not (tmp_path / "report" / "figures").exists()
    assert "<svg" not in (tmp_path / "report" / "report.html").read_text()

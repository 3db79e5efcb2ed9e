"""Damaged files of nnU-Net's or ours are one sentence."""

import json

import pytest

from nnunet_prosma.errors import InputError
from nnunet_prosma.files import read_json
from nnunet_prosma.host.splits import read_splits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "x.json is missing"),
        (b'{"a": 1', r"x.json cannot be read \(.*\): it is cut off or damaged"),
        (b"\xff\xfe\x00", r"x.json cannot be read \(.*\): it is cut off or damaged"),
        (b"[1]", "x.json must hold a JSON object, not a list"),
    ],
)
def test_what_is_no_json_object_is_said(content, message, tmp_path):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(path)


def test_splits_are_a_list_of_folds(tmp_path):
    path = tmp_path / "splits_final.json"
    folds = [{"train": ["a"], "val": ["b"]}]
    path.write_text(json.dumps(folds))
    assert [(fold.train, fold.val) for fold in read_splits(path)] == [(["a"], ["b"])]
    for wrong in ({}, [1], [{"train": []}]):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=r"splits_final.json"):
            read_splits(path)

"""What a study prepares once, before its first task."""

import numpy as np
import pytest

from nnunet_prosma.host.prepared import unpack


@pytest.mark.slow
def test_data_in_nnunets_older_format_are_unpacked_as_nnunet_does(tmp_path):
    data, seg = np.random.default_rng(0).random((1, 6, 7, 8)).astype(np.float32), np.ones((1, 6, 7, 8), np.int8)
    np.savez_compressed(tmp_path / "case_0.npz", data=data, seg=seg)
    (tmp_path / "case_0.pkl").write_bytes(b"")  # its properties, which unpacking does not read
    for _ in range(2):  # the second time all is there
        unpack(tmp_path)
        np.testing.assert_array_equal(np.load(tmp_path / "case_0.npy"), data)
        np.testing.assert_array_equal(np.load(tmp_path / "case_0_seg.npy"), seg)

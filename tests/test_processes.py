"""Commands of nnU-Net's, run with their output in a log."""

import os
import sys

from nnunet_prosma.host import processes


def test_output_that_is_no_utf_8_neither_ends_the_command_nor_is_lost(tmp_path):
    """As a path in another encoding, which a warning of some library prints."""
    program = r"import sys; sys.stdout.buffer.write(b'caf\xe9\nEpoch 1\n')"
    said = []
    assert processes.run([sys.executable, "-c", program], tmp_path / "log.txt", os.environ, said.append) == 0
    assert said == ["caf\ufffd", "Epoch 1"]
    assert (tmp_path / "log.txt").read_bytes() == b"caf\xe9\nEpoch 1\n"

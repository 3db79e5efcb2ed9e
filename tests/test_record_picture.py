"""The picture of a record, and the command that draws it again."""

import matplotlib
import numpy as np
import pytest
from recorded import history

from nnunet_prosma import command
from nnunet_prosma.watch.plot import draw_record
from nnunet_prosma.watch.record import (
    COLUMNS,
    FILE,
)


def test_the_picture_is_the_same_whatever_style_nnunets_own_has_set(tmp_path):
    record = history(0.1, 0.5, 0.4)
    draw_record({"": record}, tmp_path / "before.png")
    with matplotlib.rc_context():
        import seaborn

        seaborn.set(font_scale=2.5)
        draw_record({"": record}, tmp_path / "after.png")
        assert matplotlib.rcParams["font.size"] == 12 * 2.5
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_the_command_draws_one_record_in_its_folder_or_several_side_by_side(tmp_path, capsys):
    from skimage.io import imread

    for fold in ("fold_0", "fold_1"):
        history(0.1, 0.5, 0.4).write(tmp_path / fold / FILE)
    assert command.main(["inspect", "--training", str(tmp_path / "fold_0")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'fold_0' / 'gates.png'}\n"
    folds = [str(tmp_path / "fold_0"), str(tmp_path / "fold_1")]
    assert command.main(["inspect", "--training", *folds, "-o", str(tmp_path / "out")]) == 0
    one, two = imread(tmp_path / "fold_0" / "gates.png"), imread(tmp_path / "out" / "gates.png")
    assert two.shape[1] > 1.8 * one.shape[1]
    half = two.shape[1] // 2
    assert all(np.ptp(part[..., :3]) > 200 for part in (two[:, :half], two[:, half:]))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, [], "gates.csv is not there: --training takes the folders fold_X of trainings with a gated trainer"),
        ("a,b\n", [], "gates.csv cannot be read: its columns must be epoch"),
        (",".join(COLUMNS) + "\n", [], "gates.csv holds no epoch yet"),
        ("", ["-i", "x"], "--training shows a record and takes no -i: leave them out"),
        ("", ["SELF"], "--training with several folders needs -o OUT"),
    ],
)
def test_a_record_that_cannot_be_drawn_is_told(tmp_path, capsys, content, options, message):
    if content is not None:
        (tmp_path / FILE).write_text(content)
    options = [str(tmp_path) if option == "SELF" else option for option in options]
    assert command.main(["inspect", "--training", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err

import pytest
import torch
from workspace import training

from nnunet_prosma.watch.record import read

pytestmark = pytest.mark.slow


def epochs(folder, name="checkpoint_final.pth"):
    return torch.load(folder / name, weights_only=False)["logging"]


def recorded(path):
    return [row.epoch for row in read(path).rows]


def test_a_training_killed_and_continued_goes_on_as_nnunets_own_does(toy):
    apart, trainers = {}, ("nnUNetTrainerShort", "nnUNetTrainerProSMAShort")
    toy.run_all(*(training(9, "3d_fullres", 4, trainer) for trainer in trainers), SHORT_TRAINER_EPOCHS="3")
    for trainer in trainers:
        folder = toy.results / "Dataset009_Toy" / f"{trainer}__nnUNetPlans__3d_fullres" / "fold_4"
        unbroken = epochs(folder)
        for path in folder.glob("*"):
            if path.is_file():
                path.unlink()
        toy.train(9, "3d_fullres", 4, trainer, status=-9, SHORT_TRAINER_EPOCHS="3", SHORT_TRAINER_DIES_IN="2")
        assert not (folder / "checkpoint_final.pth").exists()
        assert len(epochs(folder, "checkpoint_latest.pth")["train_losses"]) == 2
        if trainer == "nnUNetTrainerProSMAShort":  # as if the kill had come after the epoch's record was written
            record = folder / "gates.csv"
            assert recorded(record) == [0, 0, 1, 1]
            record.write_text(record.read_text() + "2,gates.0,2x2x2" + 11 * ",0.5" + "\n")
        toy.train(9, "3d_fullres", 4, trainer, "--c", SHORT_TRAINER_EPOCHS="3")
        continued = epochs(folder)
        assert continued["train_losses"][:2] == unbroken["train_losses"][:2]
        apart[trainer] = abs(continued["train_losses"][2] - unbroken["train_losses"][2])
        assert len(continued["train_losses"]) == 3
    assert recorded(folder / "gates.csv") == [0, 0, 1, 1, 2, 2]
    assert (folder / "gates.png").is_file()
    assert apart["nnUNetTrainerProSMAShort"] <= 2 * apart["nnUNetTrainerShort"] + 1e-6

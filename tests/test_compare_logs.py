from compare_workspace import write_log

from nnunet_prosma.host.training_log import read_training_logs


def test_curves_and_times_are_read_from_nnunets_log(tmp_path):
    write_log(tmp_path / "training_log_2026_3_9_07_05_01.txt", epochs=4, seconds=2.0)
    log = read_training_logs(tmp_path)
    assert log.epochs == 4
    assert log.seconds_per_epoch == 2.0  # the slow first epoch does not move the median
    assert log.curves["train_loss"] == {0: 1.0, 1: 0.5, 2: 0.3333, 3: 0.25}
    assert log.curves["pseudo_dice"][2] == (0.52 + 0.3) / 2
    assert log.training_cases == 8


def test_where_a_training_was_continued_the_later_log_holds(tmp_path):
    write_log(tmp_path / "training_log_2026_3_9_07_05_01.txt", epochs=4, seconds=2.0)
    later = "2026-03-10 07:05:01.1: Epoch 3 \n2026-03-10 07:05:01.1: Epoch time: 9.5 s\n"
    (tmp_path / "training_log_2026_3_10_07_05_01.txt").write_text(later)
    assert read_training_logs(tmp_path).curves["seconds"] == {0: 5.0, 1: 2.0, 2: 2.0, 3: 9.5}


def test_undefined_values_and_an_empty_folder_are_no_error(tmp_path):
    assert read_training_logs(tmp_path).seconds_per_epoch is None
    text = "t: Epoch 0 \nt: Pseudo dice [nan, np.float32(0.5)] \nt: train_loss nan \nt: Peak GPU memory: 2048 MiB\n"
    (tmp_path / "training_log_2026_1_1_1_1_1.txt").write_text(text)
    log = read_training_logs(tmp_path)
    assert log.curves["pseudo_dice"] == {0: 0.5}
    assert log.peak_memory_gib == 2.0

"""The queue of a study: several trainings at once, a lock and a record for each, repeats in folders of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import yaml

from nnunet_prosma.errors import InputError
from nnunet_prosma.files.leftovers import host
from nnunet_prosma.study import local, status
from nnunet_prosma.study.attempt import attempt
from nnunet_prosma.study.lock import HeldError, held_alone, holder_of, started
from nnunet_prosma.study.record import Attempt, Record, read_record, write_record
from nnunet_prosma.study.runs import Run, named
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.share import variables
from nnunet_prosma.study.spec import Arm, Study
from nnunet_prosma.study.stop import Stop

ARMS = (Arm("without", "nnUNetTrainerShort"), Arm("with", "nnUNetTrainerProSMAShort"))


@pytest.fixture
def setting(tmp_path):
    return Setting(Study("t", ARMS), "Dataset009_Toy", tmp_path / "data", tmp_path / "out", "cpu")


def runs(setting, count=4):
    return [
        Run(ARMS[n % 2], n // 2, setting.output / "results" / ARMS[n % 2].trainer / f"fold_{n // 2}")
        for n in range(count)
    ]


def finish(run):
    (run.folder / "validation").mkdir(parents=True)
    (run.folder / "checkpoint_final.pth").touch()
    (run.folder / "validation" / "summary.json").write_text('{"metric_per_case": []}')


def pretend(monkeypatch, work):
    """In the place of trainings; what they were given is returned."""
    given = []

    def attempt(run, setting, told, stop, on_line):
        given.append((run.key, told))
        done = Attempt("train", "node", "now")
        done.state = work(run) or "finished"
        return done

    monkeypatch.setattr(local, "attempt", attempt)
    return given


def test_each_gpu_trains_one_run_at_a_time_from_a_common_queue(setting, monkeypatch):
    busy, together, gate = [], [], threading.Barrier(2, timeout=1800)

    def work(run):
        busy.append(run.key)
        gate.wait()  # two at once, or this never ends
        together.append(len(busy))
        gate.wait()
        busy.remove(run.key)

    given = pretend(monkeypatch, work)
    wrong, stop = local.work_off(runs(setting), setting, local.slots("cuda", None, ["3", "5"], 1))
    assert (wrong, stop.signal) == ([], None)
    assert sorted(key for key, _ in given) == sorted(run.key for run in runs(setting))
    assert {told["CUDA_VISIBLE_DEVICES"] for _, told in given} == {"3", "5"}
    assert set(together) == {2}


def test_what_fails_is_told_and_the_rest_goes_on(setting, monkeypatch, capsys):
    def work(run):
        if run.fold == 0 and run.arm.row == "without":
            raise InputError("no space is left")
        return "failed" if run.fold == 0 else None

    given = pretend(monkeypatch, work)
    wrong, _ = local.work_off(runs(setting), setting, local.slots("cpu", 1, None, 1))
    assert len(given) == 4
    assert [sentence.split(":")[0] for sentence in wrong] == [
        "fold 0, without (nnUNetTrainerShort)",
        "fold 0, with (nnUNetTrainerProSMAShort)",
    ]
    assert "[4/4] fold 1, with (nnUNetTrainerProSMAShort): to train" in capsys.readouterr().out


def test_what_another_process_takes_or_finishes_is_no_failure(setting, monkeypatch, capsys):
    """Two machines on one study: the second finds runs held, or finished by the first."""
    first, second, third, fourth = runs(setting)
    given = []
    finish(first)

    def attempt(run, *rest):
        if run == second:
            finish(second)  # by the other, while it was held
            raise HeldError("held")
        if run == third:
            raise HeldError("fold 1, without: process 7 on n2, is still at work on it")
        given.append(run)

    monkeypatch.setattr(local, "attempt", attempt)
    wrong, _ = local.work_off(runs(setting), setting, local.slots("cpu", 1, None, 1))
    assert wrong == ["fold 1, without: process 7 on n2, is still at work on it"]
    assert given == [fourth]
    assert f"{fourth.title}: finished elsewhere meanwhile" in capsys.readouterr().out


def test_a_run_that_another_machine_has_finished_meanwhile_is_not_trained(setting):
    (run, *_) = runs(setting)
    finish(run)
    assert attempt(run, setting, {}, Stop()) is None
    assert not run.lock.exists()


def test_two_studies_that_share_a_training_do_not_train_it_at_once(setting):
    (run, *_) = runs(setting)
    other = replace(setting, output=setting.output.parent / "other")
    with held_alone(run.lock, "fold 0"), pytest.raises(HeldError, match="is still at work on it"):
        attempt(run, other, {}, Stop())


def test_names_with_spaces_reach_nnunet_whole(setting, monkeypatch):
    arm = Arm("of mine", "nnUNetTrainerShort", plans="my plans")
    run = Run(arm, 0, setting.output / "results" / "nnUNetTrainerShort__my plans__2d" / "fold_0")
    given = []

    def train(words, log, env, follow, **settings):
        given.extend(words)
        finish(run)
        return 0

    monkeypatch.setattr("nnunet_prosma.study.attempt.processes.run", train)
    assert attempt(run, setting, {}, Stop()).state == "finished"
    assert given[given.index("-p") + 1] == "my plans"
    assert "-p 'my plans' " in read_record(setting.output, run.key).attempts[0].command


def test_a_debug_file_that_a_kill_cut_off_stops_neither_queue_nor_status(setting, monkeypatch):
    first, *rest = runs(setting)
    first.folder.mkdir(parents=True)
    for content in ("", '{"num_epochs": "1', "[]"):
        (first.folder / "debug.json").write_text(content)
        given = pretend(monkeypatch, lambda run: None)
        assert local.work_off(runs(setting), setting, local.slots("cpu", 1, None, 1))[0] == []
        assert [key for key, _ in given] == [run.key for run in (first, *rest)]
        found = status.statuses(runs(setting), setting)
        assert [s.epochs for s in found] == [None] * 4


def test_a_queue_whose_threads_end_early_says_what_was_not_begun(setting, monkeypatch):
    def broken(view, line):
        raise BrokenPipeError

    monkeypatch.setattr("nnunet_prosma.study.view.View.say", broken)
    monkeypatch.setattr(threading, "excepthook", lambda told: None)
    wrong, _ = local.work_off(runs(setting), setting, local.slots("cpu", 1, None, 1))
    assert wrong[-1] == "3 of 4 runs were not begun, since this study's threads have ended early"


def test_gpus_and_jobs_that_cannot_be_meant_are_refused():
    assert local.slots("cpu", 2, None, 1) == [{}, {}]
    assert local.slots("cuda", 4, ["0", "1"], 1)[1:3] == [{"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "0"}]
    assert local.slots("cuda", None, ["0", "1", "2", "3"], 2)[1] == {"CUDA_VISIBLE_DEVICES": "2,3"}
    for arguments, message in (
        (("cpu", None, ["0"], 1), "--gpus 0 needs -device cuda, not cpu"),
        (("cuda", None, ["0", "0"], 1), "names a GPU twice; --jobs N puts several trainings on one"),
        (("cuda", None, ["0", "1", "2"], 2), "names 3 GPUs, which is no multiple of -num_gpus 2"),
        (("cuda", 0, None, 1), "--jobs must be 1 or more, got 0"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            local.slots(*arguments)


def test_trainings_that_run_at_once_share_the_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "16")
    assert variables("cuda", 1, 1, {}) == {}  # alone on a machine: as nnU-Net has it
    inside = variables("cuda", 1, 1, {"SLURM_JOB_ID": "7"})
    assert inside == {"nnUNet_n_proc_DA": "12", "nnUNet_def_n_proc": "8"}
    assert variables("cuda", 4, 1, {}) == {"nnUNet_n_proc_DA": "3", "nnUNet_def_n_proc": "4"}
    assert variables("cuda", 1, 4, {"SLURM_JOB_ID": "7"})["nnUNet_n_proc_DA"] == "3"
    mine = variables("cpu", 4, 1, {"nnUNet_n_proc_DA": "9", "OMP_NUM_THREADS": "1"})
    assert mine == {"nnUNet_def_n_proc": "4", "OMP_WAIT_POLICY": "PASSIVE"}


def test_a_run_that_somebody_is_at_work_on_is_left_alone(tmp_path):
    path = tmp_path / "runs" / "a.lock"
    with held_alone(path, "fold 0"):
        assert holder_of(path)["process"] == os.getpid()
        with (
            pytest.raises(HeldError, match=f"fold 0: process {os.getpid()} on .*, is still at work"),
            held_alone(path, "fold 0"),
        ):
            pass
    assert not path.exists()
    with held_alone(path, "fold 0"):
        pass


def test_a_training_that_outlives_its_study_keeps_its_run(tmp_path):
    path = tmp_path / "a.lock"
    program = (
        "import os, subprocess, sys; from pathlib import Path; from nnunet_prosma.study.lock import held_alone\n"
        "with held_alone(Path(sys.argv[1]), 'fold 0') as lock:\n"
        "    lock.training(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)\n"
        "    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, path]).returncode == -signal.SIGKILL
    training = json.loads(path.read_text())["training"]
    try:
        with pytest.raises(HeldError, match="is still at work"), held_alone(path, "fold 0"):
            pass
    finally:
        os.kill(training, signal.SIGKILL)
    while started(training):
        time.sleep(0.01)
    with held_alone(path, "fold 0"):
        pass


def test_another_nodes_lock_holds_until_slurm_knows_the_job_no_more(tmp_path, monkeypatch):
    """squeue is asked; a lock without a job says nothing, so it holds."""
    path, tools = tmp_path / "a.lock", tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    held = {"host": "n2", "where": "n2-4026531836", "process": os.getpid(), "started": started(os.getpid()), "job": "7"}

    def answers(script):
        (tools / "squeue").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "squeue").chmod(0o755)
        path.write_text(json.dumps(held))

    answers('[ "$3" = 7 ] && echo RUNNING')
    with pytest.raises(HeldError, match="Slurm's job 7, is still at work"), held_alone(path, "fold 0"):
        pass
    answers("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(HeldError, match="is still at work"), held_alone(path, "fold 0"):
        pass
    for gone in ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "exit 0"):
        answers(gone)
        with held_alone(path, "fold 0"):
            assert holder_of(path)["host"] == socket.gethostname()
    answers("echo RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", "7")  # the same job, requeued, on another node
    with held_alone(path, "fold 0"):
        pass
    answers("exit 0")
    path.write_text(json.dumps(held | {"job": None}))
    with (
        pytest.raises(HeldError, match=re.escape(f"If it is gone for certain, remove {path}")),
        held_alone(path, "fold 0"),
    ):
        pass


def test_a_lock_of_a_process_whose_number_another_has_now_is_taken(tmp_path):
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"host": "n", "where": host(), "process": os.getpid(), "started": "1", "job": None}))
    with held_alone(path, "fold 0"):
        pass


def test_a_process_of_another_container_on_this_host_is_not_looked_for_among_ours(tmp_path):
    """Its number means nothing here, and it may be at work."""
    path = tmp_path / "a.lock"
    gone = {"host": socket.gethostname(), "where": f"{host()}0", "process": 1, "started": "1", "job": None}
    path.write_text(json.dumps(gone))
    with pytest.raises(HeldError, match="is still at work"), held_alone(path, "fold 0"):
        pass


def test_a_lock_that_another_holds_by_now_is_left_to_it(tmp_path):
    path = tmp_path / "a.lock"
    other = {"host": "n2", "where": "n2-4026531836", "process": 7, "started": "1", "job": "8"}
    with held_alone(path, "fold 0"):
        path.write_text(json.dumps(other))  # who was sure that we are gone
    assert json.loads(path.read_text()) == other


def test_a_record_says_what_was_done_and_counts_restarts_without_progress(tmp_path):
    record = Record("a", "row", 1, attempts=[Attempt("c", "n", "t", epochs_before=0, epochs_after=3, state="stopped")])
    assert (record.restarts, record.without_progress) == (0, 0)
    for _ in range(2):
        record.attempts.append(Attempt("c", "n", "t", epochs_before=3, epochs_after=3, state="failed", why="killed"))
    write_record(tmp_path, record)
    again = read_record(tmp_path, "a")
    assert again == record
    assert (again.restarts, again.without_progress, again.why) == (2, 2, "killed")
    again.counted_from = 2
    assert again.without_progress == 1
    (tmp_path / "runs" / "a.json").write_text('{"key": "a"}')
    with pytest.raises(InputError, match="is damaged; remove it, and what is finished is validated again"):
        read_record(tmp_path, "a")


def test_what_version_0_1_kept_of_validated_checkpoints_still_counts(tmp_path):
    (tmp_path / "study.json").write_text(json.dumps({"checkpoints": {"a": "best"}, "commands": {}}))
    assert read_record(tmp_path, "a").validated == "best"
    assert read_record(tmp_path, "b").validated is None


def test_asked_to_end_a_study_passes_it_on_and_ends_by_force_at_the_second_ctrl_c(capsys):
    patient = (
        "import os, signal, time; signal.signal(signal.SIGTERM, lambda *a: os.write(1, b'asked\\n'))\n"
        "os.write(1, b'on\\n')\n"
        "while True: time.sleep(0.01)"
    )
    with Stop().listening() as stop:
        process = subprocess.Popen(
            [sys.executable, "-c", patient], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        with process, stop.reaching(process):
            assert process.stdout.readline() == "on\n"
            os.kill(os.getpid(), signal.SIGINT)
            assert process.stdout.readline() == "asked\n"
            os.kill(os.getpid(), signal.SIGINT)
            assert process.wait() == -signal.SIGKILL
    assert stop.signal == "SIGINT"
    assert "end at a checkpoint; Ctrl-C again: at once" in capsys.readouterr().err


def test_a_status_tells_what_is_done_runs_waits_and_failed_and_why(setting):
    done, running, failed, _ = runs(setting)
    finish(done)
    (done.folder / "debug.json").write_text(json.dumps({"num_epochs": "10"}))
    log = "".join(f"t: Epoch {n}\nt: Epoch time: 60.0 s\n" for n in range(4))
    running.folder.mkdir(parents=True)
    (running.folder / "training_log_2026_1_1_01_01_01.txt").write_text(log)
    (running.folder / "debug.json").write_text(json.dumps({"num_epochs": "10"}))
    write_record(setting.output, Record(failed.key, attempts=[Attempt("c", "n3", "t", state="failed", why="no space")]))
    with held_alone(running.lock, "x"):
        found = status.statuses(runs(setting), setting)
    assert [s.state for s in found] == ["done", "running", "failed", "waiting"]
    assert (found[1].epoch, found[1].epochs, found[1].left_s) == (4, 10, 360)
    assert found[3].left_s == 600  # as long as the one that runs
    lines = status.as_table(found).splitlines()
    assert re.fullmatch(r"with +0 +running +4/10 +6 min +- +\S+", lines[2])
    assert lines[3].endswith("n3     no space") or lines[3].split()[-2:] == ["no", "space"]
    assert lines[-1] == "1 of 4 done, 1 running, 1 waiting, 1 failed; about 26 min of training left"


def test_a_run_that_the_study_does_not_have_is_refused(setting):
    with pytest.raises(InputError, match="the study has no run fold_9; it has nnUNetTrainerShort__fold_0"):
        named("fold_9", runs(setting))


@pytest.mark.slow
def test_repeats_train_two_at_once_in_results_folders_of_their_own(toy):
    """Nothing but the raw and preprocessed data there before: the splits are made first, once, and whole."""
    study = {
        "title": "Twice",
        "dataset": 9,
        "configuration": "3d_fullres",
        "folds": [1],
        "repeats": 2,
        "compare": ["--tables-only"],
        "arms": [{"row": arm.row, "trainer": arm.trainer} for arm in ARMS],
    }
    (toy.path / "repeats.yaml").write_text(yaml.safe_dump(study))
    splits = toy.preprocessed / "Dataset009_Toy" / "splits_final.json"
    before = splits.read_text() if splits.exists() else None
    splits.unlink(missing_ok=True)
    words = ("study", "repeats.yaml", "-o", "repeated", "-device", "cpu")
    said = toy.run("nnunet-prosma", *words, "--jobs", 2, SHORT_TRAINER_EPOCHS="1")
    assert f"{splits} is written: nnU-Net's own five folds" in said
    assert before in (None, splits.read_text())
    assert "[4/4] fold 1, repeat 2, with (nnUNetTrainerProSMAShort): to train" in said
    for repeat in (1, 2):
        place = toy.path / "repeated" / "results" / f"repeat_{repeat}"
        for arm in ARMS:
            fold = place / "Dataset009_Toy" / f"{arm.trainer}__nnUNetPlans__3d_fullres" / "fold_1"
            assert (fold / "validation" / "summary.json").is_file()
            log = "".join(path.read_text() for path in fold.glob("training_log_*.txt"))
            assert "Creating new 5-fold" not in log
        assert (toy.path / "repeated" / "compare" / f"repeat_{repeat}_fold_1" / "report.html").is_file()
    images, to = toy.raw / "Dataset009_Toy" / "imagesTs", toy.path / "repeated" / "predictions"
    named = ("-d", 9, "-c", "3d_fullres", "-f", 1, "-tr", ARMS[1].trainer, "-device", "cpu", "-npp", 1, "-nps", 1)
    toy.run("nnUNetv2_predict", "-i", images, "-o", to, *named, nnUNet_results=str(place))
    assert list(to.glob("*.nii.gz"))
    table = (toy.path / "repeated" / "table.md").read_text()
    assert re.search(r"\| with \| – \| – \| \d+\.\d+ \(± \d+\.\d+\) \|.*\| 1: 2 trainings \|", table)
    assert "the same training comes out differently each time" in table
    said = toy.run("nnunet-prosma", *words, "--status")
    assert said.splitlines()[-1] == "4 of 4 done"

"""A study on a Slurm cluster, with pretended commands; test_study_cluster.py goes through a real one."""

import os
import re
import subprocess
from dataclasses import replace

import pytest

from nnunet_prosma.command import main
from nnunet_prosma.errors import InputError
from nnunet_prosma.study import array
from nnunet_prosma.study.record import Attempt, Record, read_record, write_record
from nnunet_prosma.study.runs import runs_of
from nnunet_prosma.study.scripts import directive, lead_s, own_lead_s, without, write_scripts
from nnunet_prosma.study.setting import Setting
from nnunet_prosma.study.spec import Arm, Study, read

ARMS = {"vanilla": "nnUNetTrainerShort", "gated": "nnUNetTrainerProSMAShort"}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Pretended commands of Slurm: what they are called with is in calls, what they answer in the files of answers."""
    tools, answers = tmp_path / "bin", tmp_path / "answers"
    tools.mkdir()
    answers.mkdir()
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        (tools / name).write_text(
            f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/calls\n'
            f"if [ -e {answers}/{name}.fails ]; then cat {answers}/{name}.fails >&2; exit 1; fi\n"
            f"if [ {name} = sbatch ]; then n=$(grep -c ^sbatch {tmp_path}/calls); echo $((n + 100)); fi\n"
            f"[ ! -e {answers}/{name} ] || cat {answers}/{name}\n"
        )
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)

    def calls(start=""):
        path = tmp_path / "calls"
        return [line for line in path.read_text().splitlines() if line.startswith(start)] if path.exists() else []

    calls.answer = lambda name, text: (answers / name).write_text(text)
    return calls


@pytest.fixture
def setting(tmp_path, cluster, monkeypatch):
    study = Study("Vanilla and gated", tuple(Arm(*arm) for arm in ARMS.items()), "9", "3d_fullres", (0, 1))
    monkeypatch.setattr(array, "standing", lambda run, setting: "finished" if run.finished else "to train")
    return Setting(study, "Dataset009_Toy", tmp_path / "data", tmp_path / "out", "cuda", checkpoint_every=30)


def finish(run):
    (run.folder / "validation").mkdir(parents=True)
    (run.folder / "checkpoint_final.pth").touch()
    (run.folder / "validation" / "summary.json").write_text('{"metric_per_case": []}')


def ended(setting, run, *states, **changes):
    attempts = [Attempt("c", "n", "t", **{"state": state, "epochs_after": 0, **changes}) for state in states]
    write_record(setting.output, Record(run.key, attempts=attempts))
    return attempts[-1]


def test_what_is_not_done_is_submitted_as_an_array_that_can_be_read_and_submitted_by_hand(setting, cluster):
    finish(runs_of(setting)[1])
    options = ["-p", "gpu", "-t", "24:00:00", "-c", "12", "--gres", "gpu:1", "--mem", "64G"]
    said = array.submit(setting, options, parallel=2, left=3)
    assert cluster("sbatch")[1].startswith("sbatch --parsable --dependency=afterany:101 ")
    folder = setting.output / "slurm"
    assert cluster("sbatch")[0] == f"sbatch --parsable --array=1,3,4%2 {folder}/array.sh"
    assert said[0] == f"job 101: 3 runs, sbatch --array=1,3,4%2 {folder}/array.sh"
    assert (folder / "runs.txt").read_text().split() == [run.key for run in runs_of(setting)]
    assert read(folder / "study.yaml") == setting.study
    text = (folder / "array.sh").read_text()
    assert f"# By hand: sbatch --array=1-4 {folder}/array.sh" in text
    assert "#SBATCH -p gpu -t 24:00:00 -c 12 --gres gpu:1 --mem 64G\n" in text
    assert "#SBATCH --signal=B:USR1@300\n" in text
    assert f"export nnUNet_results={setting.output.parent / 'results'}\n" in text
    assert text.splitlines()[-1].endswith('--run "$key" -device cuda -num_gpus 1 --checkpoint-every 30')
    shown = re.sub(r"^exec \S+", "echo", text, flags=re.MULTILINE)
    told = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", shown],
        env={**os.environ, "SLURM_ARRAY_TASK_ID": "3"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.split()[:6] == [
        "study",
        f"{folder}/study.yaml",
        "-o",
        str(setting.output),
        "--run",
        runs_of(setting)[2].key,
    ]
    table = (folder / "table.sh").read_text()
    assert "#SBATCH -p gpu -t 24:00:00 -c 12 --mem 64G\n" in table
    assert "--follow-up 3 " in table
    assert subprocess.run(["bash", "-n", folder / "table.sh"]).returncode == 0


def test_the_table_follows_all_jobs_and_what_waits_is_not_submitted_twice(setting, cluster, capsys):
    array.submit(setting, [], None, 2)
    cluster.answer("squeue", "101|1|RUNNING|None\n101|2|PENDING|Resources\n101|3|PENDING|Resources\n7|9|RUNNING|None\n")
    said = array.submit(setting, [], None, 2)
    assert cluster("sbatch")[2] == f"sbatch --parsable --array=4 {setting.output}/slurm/array.sh"
    assert cluster("sbatch")[3] == f"sbatch --parsable --dependency=afterany:101:103 {setting.output}/slurm/table.sh"
    assert said[-1] == "job 104: the table, when these have ended"
    keys = [run.key for run in runs_of(setting)]
    assert array.in_queue(setting) == {keys[0]: "running", keys[1]: "pending: Resources", keys[2]: "pending: Resources"}


def test_numbers_of_runs_stay_when_a_study_grows(setting, cluster):
    write_scripts(runs_of(setting), setting, [], 2, None)
    before = (setting.output / "slurm" / "runs.txt").read_text()
    arms = (Arm("first", "nnUNetTrainerOther"), *setting.study.arms)
    grown = replace(setting, study=replace(setting.study, arms=arms))
    write_scripts(runs_of(grown), grown, [], 2, None)
    after = (setting.output / "slurm" / "runs.txt").read_text()
    assert after.startswith(before)
    assert sorted(after.split()) == sorted(run.key for run in runs_of(grown))


def test_the_signal_comes_earlier_than_the_longest_epoch_seen(setting):
    run = runs_of(setting)[0]
    assert lead_s([run]) == 300
    run.folder.mkdir(parents=True)
    log = "t: Epoch 0\nt: Epoch time: 900.0 s\nt: Epoch 1\nt: Epoch time: 400.0 s\n"
    (run.folder / "training_log_2026_1_1_01_01_01.txt").write_text(log)
    assert lead_s([run]) == 1410
    assert own_lead_s(["-t", "1:00"]) is None
    assert own_lead_s(["-t", "1:00", "--signal=B:USR1@77"]) == 77
    assert own_lead_s(["--signal", "B:SIGUSR1@77", "-t", "1:00"]) == 77
    assert own_lead_s(["--signal=B:10"]) == 60  # Slurm's own lead
    for words, got in (
        (["--signal=USR1@77"], "USR1@77"),
        (["--signal", "B:TERM@9"], "B:TERM@9"),
        (["--signal"], "not"),
    ):
        with pytest.raises(InputError, match=rf"--signal must be B:USR1 or B:USR1@SECONDS, .* got {got}"):
            own_lead_s(words)


def test_a_study_that_lacks_runs_of_the_queue_is_not_put_in_the_place_of_theirs(setting, cluster):
    """Tasks that wait read slurm/study.yaml when they start."""
    array.submit(setting, [], None, 2)
    written = (setting.output / "slurm" / "study.yaml").read_text()
    cluster.answer("squeue", "101|1|RUNNING|None\n101|2|PENDING|Resources\n")
    other = replace(setting, study=replace(setting.study, folds=(1,)))
    lost = ", ".join(sorted(run.key for run in runs_of(setting)[:2]))
    with pytest.raises(InputError, match=re.escape(f"lacks ({lost}): give it with their folds and arms too")):
        array.submit(other, [], None, 2)
    assert (setting.output / "slurm" / "study.yaml").read_text() == written
    assert len(cluster("sbatch")) == 2
    cluster.answer("squeue", "")
    assert array.submit(other, [], None, 2)[0].startswith("job 103: 2 runs, sbatch --array=3,4 ")


def test_the_tables_job_asks_for_no_gpu():
    options = ["-p", "gpu", "--gres", "gpu:1", "--gpus=2", "-G1", "-G", "1", "--mem-per-gpu", "9G", "-c", "4"]
    names = ("--gres", "--gpus", "-G", "--mem-per-gpu")
    assert without(options, names) == ["-p", "gpu", "-c", "4"]
    assert directive(["-A", "my group"]) == "#SBATCH -A 'my group'"


@pytest.fixture
def task(setting, monkeypatch):
    for name, value in (("JOB_ID", "103"), ("ARRAY_JOB_ID", "101"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    return runs_of(setting)[1]


def test_a_task_that_stopped_at_a_checkpoint_is_requeued(setting, cluster, task):
    last = ended(setting, task, "stopped", signal="SIGUSR1")
    assert array.end_of_task(task, setting, last) == "job 101_2 is requeued"
    assert cluster("scontrol") == ["scontrol requeue 101_2"]
    done = ended(setting, task, "finished")
    assert array.end_of_task(task, setting, done) == ""
    assert len(cluster("scontrol")) == 1


def test_where_requeueing_is_forbidden_a_task_submits_itself_again(setting, cluster, task):
    cluster.answer("scontrol.fails", "Requested operation is presently disabled")
    last = ended(setting, task, "stopped", signal="SIGUSR1")
    assert array.end_of_task(task, setting, last) == "job 101_2 may not be requeued, so job 101 goes on"
    assert cluster("sbatch") == [f"sbatch --parsable --array=2 {setting.output}/slurm/array.sh"]
    assert array.known_jobs(setting) == {"101": {"2": task.key}}


def test_a_preempted_task_that_slurm_requeued_itself_is_left_to_it(setting, cluster, task):
    cluster.answer("scontrol.fails", "101_2: Job is pending execution")  # what a real Slurm said
    last = ended(setting, task, "stopped", signal="SIGTERM")
    assert array.end_of_task(task, setting, last) == "Slurm has requeued job 101_2 itself"
    assert not cluster("sbatch")


def test_a_cancelled_task_is_not_started_again(setting, cluster, task):
    cluster.answer("scontrol", "JobId=103 JobState=CANCELLED Reason=None")
    last = ended(setting, task, "stopped", signal="SIGTERM")
    assert array.end_of_task(task, setting, last) == "cancelled (scancel)"
    assert read_record(setting.output, task.key).given_up == "cancelled (scancel)"
    assert task.key not in array.died(setting)
    assert not cluster("scontrol requeue")


def test_restarts_without_progress_are_counted_and_end(setting, cluster, task):
    last = ended(setting, task, "stopped", "stopped", "stopped", signal="SIGUSR1", why="too slow")
    assert array.end_of_task(task, setting, last) == "3 starts in a row came no epoch further: too slow"
    assert not cluster("scontrol requeue")
    assert task.key not in array.died(setting)
    array.submit(setting, [], None, 2)  # by hand: another chance
    assert "--array=1,2,3,4 " in cluster("sbatch")[0]
    assert read_record(setting.output, task.key).given_up == ""
    assert read_record(setting.output, task.key).without_progress == 0


def test_the_job_that_follows_submits_again_what_died_a_stated_number_of_times(setting, cluster):
    dead, killed, wrong, done = runs_of(setting)
    ended(setting, dead, "running")
    ended(setting, killed, "failed", exit=-9)
    ended(setting, wrong, "failed", exit=1, why="no such plans")
    finish(done)
    array.follow_up(setting, ["-c", "2"], 4, 2)
    assert cluster("sbatch")[0] == f"sbatch --parsable --array=1,2%4 {setting.output}/slurm/array.sh"
    assert "--follow-up 1 " in (setting.output / "slurm" / "table.sh").read_text()
    before = len(cluster("sbatch"))
    assert array.follow_up(setting, [], None, 0) == []  # the table
    assert len(cluster("sbatch")) == before
    cluster.answer("squeue", "101|1|PENDING|BeginTime\n")
    said = array.follow_up(setting, [], None, 0)  # a task submitted itself again: wait for it
    assert said == ["job 103: the table, when these have ended"]
    assert cluster("sbatch")[-1].startswith("sbatch --parsable --dependency=afterany:101 ")


def test_without_slurm_or_with_gpus_it_is_one_sentence(setting, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="there is no sbatch here: --slurm needs a machine from which Slurm"):
        array.submit(setting, [], None, 2)
    words = ["study", "nnunet-plain", "-o", str(tmp_path / "o"), "--slurm"]
    assert main([*words, "--gpus", "0"]) == 2
    assert "--slurm leaves machines and GPUs to Slurm" in capsys.readouterr().err
    assert main([*words, "--parallel", "0"]) == 2
    assert "--parallel must be at least 1, got 0" in capsys.readouterr().err

"""Each wrong input is one sentence that names the file and the field, status 2, and nothing is written."""

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from workspace import run_as_newcomer
from wrong_home import NAME, edit, edit_checkpoint, make_home, snapshot

from nnunet_prosma import command

COMMAND = Path(sys.executable).with_name("nnunet-prosma")
MODEL = "model__nnUNetPlans__3d_fullres"
RUNS = [f"runs/{trainer}__nnUNetPlans__3d_fullres" for trainer in ("nnUNetTrainer", "nnUNetTrainerProSMA")]
PLANNED = f"preprocessed/{NAME}"
USES = {
    "inspect": f"inspect -m {{home}}/{MODEL} -f 0 -i {{home}}/images -o {{home}}/out -device cpu",
    "compare": f"compare --folders {{home}}/{RUNS[0]} {{home}}/{RUNS[1]} -o {{home}}/out --tables-only",
    "benchmark": f"benchmark --plans {{home}}/{PLANNED}/nnUNetPlans.json -c 3d_fullres -device cpu",
    "bundle": f"bundle -m {{home}}/{MODEL} -f 0 -o {{home}}/out",
    "warm-start": "warm-start {home}/vanilla.pth -d 9 -o {home}/out.pth",
    "start": "warm-start {home}/vanilla.pth -o {home}/out.pth",
    "plan": "plan -d 9",
    "predict": "predict {home}/bundle -i {home}/images -o {home}/out -device cpu",
    "container": "container {home}/bundle --input images/ct=0 --output images/seg -o {home}/out",
    "metrics": "metrics {home}/predictions {home}/truth --json {home}/out.json",
    "metrics of a fold": f"metrics {{home}}/predictions {{home}}/truth --splits {{home}}/{PLANNED}/splits_final.json "
    "--fold 0 --json {home}/out.json",
    "study": "study {home}/study.yaml -o {home}/out -device cpu",
    "convert": "convert busi {home}/busi 77",
    "demo": "demo -o {home}/out -device cpu",
}
FILES = {
    "inspect": (f"{MODEL}/plans.json", f"{MODEL}/dataset.json"),
    "compare": (f"{RUNS[1]}/plans.json", f"{RUNS[1]}/dataset.json"),
    "benchmark": (f"{PLANNED}/nnUNetPlans.json", f"{PLANNED}/dataset.json"),
    "bundle": (f"{MODEL}/plans.json", f"{MODEL}/dataset.json"),
    "warm-start": (f"{PLANNED}/nnUNetPlans.json", f"{PLANNED}/dataset.json"),
    "plan": (None, f"raw/{NAME}/dataset.json"),
}
"""Plans and dataset.json that a use reads."""
C = "configurations/3d_fullres"
WRONG_PLANS: dict[str, tuple[Any, str]] = {
    "configurations": (5, r"\$\.configurations must be an object, and is a whole number"),
    C: ([], r"\$\.configurations\.3d_fullres must be an object, and is a list"),
    f"{C}/patch_size": (3, r"\$\.configurations\.3d_fullres\.patch_size must be a list"),
    f"{C}/spacing": (["x", 1, 1], r"\$\.configurations\.3d_fullres\.spacing\[0\] must be a number, and is text"),
    f"{C}/batch_size": ("2", r"\$\.configurations\.3d_fullres\.batch_size must be a whole number"),
    f"{C}/architecture": (None, r"\$\.configurations\.3d_fullres\.architecture must be an object, and is null"),
    f"{C}/architecture/arch_kwargs": ([1], r"\$\.configurations\.3d_fullres\.architecture\.arch_kwargs must be an obj"),
    f"{C}/inherits_from": ("nowhere", r"\$\.configurations\.3d_fullres\.inherits_from names nowhere"),
    "image_reader_writer": (7, r"\$\.image_reader_writer must be text"),
}
WRONG_DATASETS: dict[str, tuple[Any, str]] = {
    "labels": (5, r"\$\.labels must be an object"),
    "labels/background": (..., r"\$\.labels must name the background, as 0"),
    "labels/other": ("two", r"\$\.labels \(.*two"),
    "channel_names": (["MR"], r"\$\.channel_names must be an object"),
    "file_ending": (3, r"\$\.file_ending must be text"),
}
DAMAGES: dict[str, tuple[bytes, str]] = {
    "cut off": (b'{"configurations": {', r"cannot be read \("),
    "a list": (b"[1]", r"must hold a JSON object, not a list"),
    "nested deeply": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, r"nested too deeply"),
    "no text": (b"\xff\xfe\x00\x81", r"cannot be read \("),
}


@dataclass(frozen=True)
class Wrong:
    """words: of the command, {home} the folder; damage: done to the home first; says: what the sentence says."""

    words: str
    says: str
    damage: Any = None


def edited(file: str, place: str, value: Any) -> Any:
    return lambda home: edit(home / file, place, value)


def replaced(file: str, content: bytes) -> Any:
    return lambda home: (home / file).write_bytes(content)


def set_study(home: Path, place: str, value: Any) -> None:
    """Sets what stands at a/0/b in the study file."""
    path = home / "study.yaml"
    content = yaml.safe_load(path.read_text())
    *above, last = (int(key) if key.isdecimal() else key for key in place.split("/"))
    node = content
    for key in above:
        node = node[key]
    node[last] = value
    path.write_text(yaml.safe_dump(content))


def cases() -> dict[str, Wrong]:
    found: dict[str, Wrong] = {}
    for use, (plans_file, dataset_file) in FILES.items():
        for file, wrong in ((plans_file, WRONG_PLANS), (dataset_file, WRONG_DATASETS)):
            if file is None:
                continue
            for place, (value, says) in wrong.items():
                name = f"{use}: {Path(file).name}, {place} {'missing' if value is ... else value}"
                found[name] = Wrong(USES[use], Path(file).name + ".*" + says, edited(file, place, value))
            for kind, (content, says) in DAMAGES.items():
                found[f"{use}: {Path(file).name} {kind}"] = Wrong(USES[use], says, replaced(file, content))
    summary, debug = f"{RUNS[1]}/fold_0/validation/summary.json", f"{RUNS[1]}/fold_0/debug.json"
    case = "metric_per_case/0"
    for place, value, says in (
        ("metric_per_case", 5, r"\$\.metric_per_case must be a list"),
        (case, None, r"\$\.metric_per_case\[0\] must be an object, and is null"),
        (f"{case}/metrics", [], r"\$\.metric_per_case\[0\]\.metrics must be an object"),
        (f"{case}/metrics/1/Dice", "high", r"\$\.metric_per_case\[0\]\.metrics\.1\.Dice must be a number, and is text"),
        (f"{case}/metrics/1/Dice", -5, r"\$\.metric_per_case\[0\]\.metrics\.1\.Dice must be from 0 to 1"),
        (f"{case}/metrics/1/IoU", float("inf"), r"\$\.metric_per_case\[0\]\.metrics\.1\.IoU must be from 0 to 1"),
        (f"{case}/metrics/1/n_ref", -1, r"\$\.metric_per_case\[0\]\.metrics\.1\.n_ref must be a number of voxels"),
        (f"{case}/metrics/x", {"Dice": 1, "IoU": 1, "n_ref": 1, "n_pred": 1}, r"\$\.metric_per_case\[0\]\.metrics na"),
        (f"{case}/prediction_file", 3, r"\$\.metric_per_case\[0\]\.prediction_file must be text"),
        (f"{case}/reference_file", ..., r"\$\.metric_per_case\[0\]\.reference_file is missing"),
    ):
        name = f"compare: summary.json, {place} {'missing' if value is ... else value}"
        found[name] = Wrong(USES["compare"], r"summary\.json: " + says, edited(summary, place, value))
    for kind, (content, says) in DAMAGES.items():
        for file in (summary, debug):
            found[f"compare: {Path(file).name} {kind}"] = Wrong(USES["compare"], says, replaced(file, content))
    found["compare: debug.json, a list in a field"] = Wrong(
        USES["compare"], r"debug\.json: \$\.num_epochs must be .*, and is a list", edited(debug, "num_epochs", [1])
    )
    print_of = f"{PLANNED}/dataset_fingerprint.json"
    for place, value, says in (
        ("spacings", 5, r"\$\.spacings must be a list"),
        ("spacings", [], r"\$\.spacings must hold a spacing for each case"),
        ("spacings/0", [0, 0, 0], r"\$\.spacings must hold .* above 0"),
        ("shapes_after_crop/0/0", "x", r"\$\.shapes_after_crop\[0\]\[0\] must be a number, and is text"),
        ("median_relative_size_after_cropping", None, r"\$\.median_relative_size_after_cropping must be a number"),
        ("foreground_intensity_properties_per_channel/0", 1, r"_per_channel\.0 must be an object"),
    ):
        found[f"plan: fingerprint, {place} {value}"] = Wrong(USES["plan"], says, edited(print_of, place, value))
    for kind, (content, says) in DAMAGES.items():
        found[f"plan: fingerprint {kind}"] = Wrong(USES["plan"], says, replaced(print_of, content))
    splits = f"{PLANNED}/splits_final.json"
    for content, says in (
        (b"{}", r"splits_final\.json must hold a JSON list"),
        (b"[]", r"splits_final\.json must be nnU-Net's"),
        (b"[1]", r"splits_final\.json: \$\[0\] must be an object"),
        (b'[{"train": []}]', r"splits_final\.json: \$\[0\]\.val is missing"),
        (b'[{"train": [], "val": [3]}]', r"splits_final\.json: \$\[0\]\.val\[0\] must be text"),
        (b'[{"train": "a", "val": ["other"]}]', r"splits_final\.json: \$\[0\]\.train must be a list"),
    ):
        for use in ("metrics of a fold", "study"):
            found[f"{use}: splits {content.decode()}"] = Wrong(USES[use], says, replaced(splits, content))
    for place, value, says in (
        ("init_args", ..., r"vanilla\.pth: \$\.init_args is missing"),
        ("init_args", 5, r"vanilla\.pth: \$\.init_args must be an object"),
        ("init_args/configuration", 3, r"vanilla\.pth: \$\.init_args\.configuration must be text"),
        ("init_args/plans", 3, r"vanilla\.pth, init_args/plans: \$ must be an object"),
        ("init_args/plans/configurations", [], r"init_args/plans: \$\.configurations must be an object"),
        ("init_args/dataset_json/labels", "x", r"init_args/dataset_json: \$\.labels must be an object"),
        ("init_args/configuration", "4d", r"has no configuration '4d'; it has 3d_fullres"),
        ("trainer_name", None, r"vanilla\.pth: \$\.trainer_name must be text"),
        ("network_weights", {}, r"the checkpoint's .* is missing"),
        ("network_weights", {"a": 5}, r"network_weights/a must be a tensor"),
        ("network_weights", 5, r"must be a checkpoint of nnU-Net, a dict with network_weights"),
    ):
        name = f"warm-start: checkpoint, {place} {'missing' if value is ... else value}"
        found[name] = Wrong(
            USES["start"], says, lambda home, p=place, v=value: edit_checkpoint(home / "vanilla.pth", p, v)
        )
    for content, says in STUDIES:
        found[f"study: {content[:60]!r}"] = Wrong(USES["study"], says, replaced("study.yaml", content.encode()))
    for place, value, says in STUDY_SETTINGS:
        found[f"study: {place} {value!r}"] = Wrong(
            USES["study"], r"study\.yaml.*" + says, lambda home, p=place, v=value: set_study(home, p, v)
        )
    for number, (words, says) in enumerate(OPTIONS):
        found[f"{words.split()[0]}: options {number}, {words}"] = Wrong(words, says)
    return found


STUDIES = [
    ("", "must hold settings .* not None"),
    ("[1, 2]", r"must hold settings .* not \[1, 2\]"),
    ("title: [", "cannot be read as YAML"),
    ("title: 2020-13-45", "cannot be read as YAML: month must be in"),
    ("title: !!int x", "cannot be read as YAML: invalid literal"),
    ("title: !!timestamp x", "cannot be read as YAML: a value is not of the type that its tag says"),
    ("title: !!bool x", "cannot be read as YAML: a value is not of the type that its tag says"),
    ("title: !!python/object/apply:os.system [ls]", "cannot be read as YAML: could not determine a constructor"),
    ("title: " + "9" * 5000, "cannot be read as YAML: Exceeds the limit"),
    ("[" * 5000, "nested too deeply"),
    ("title: t\narms: &a [*a]", "arm 1 must hold settings"),
    ("title: t\n2: 3", "unknown setting 2"),
]
STUDY_SETTINGS: list[tuple[str, Any, str]] = [
    ("title", ["t"], "title must be text"),
    ("dataset", [9], r"dataset must be a number or a name, got \[9\]"),
    ("dataset", True, "dataset must be a number or a name, got True"),
    ("configuration", 3, "configuration must be text"),
    ("folds", 0, "folds must be a list, got 0"),
    ("folds", [True], r"folds must be whole numbers from 0 on, got \[True\]"),
    ("folds", [[0]], r"folds must be whole numbers from 0 on"),
    ("label", 1.5, "label must be the number of one"),
    ("checkpoint", ["final"], "checkpoint must be one of best, final"),
    ("compare", {"a": 1}, "compare must be a list"),
    ("compare", [["--nope"]], "compare must list options"),
    ("repeats", "3", "repeats must be a whole number from 1 to 1000"),
    ("arms", {"row": "a"}, "arms must be a list of at least one row"),
    ("arms/0", None, "arm 1 must hold settings"),
    ("arms/1/trainer", 5, "trainer of an arm must be text, got 5"),
    ("arms/1/row", None, "row of an arm must be text, got None"),
    ("arms/0/published", [], r"published must hold IoU and F1, got \[\]"),
    ("arms/0/published", {"F1": [1]}, r"published F1 must be a number, or text .* got \[1\]"),
    ("arms/0/published", {"Dice": 1}, "published may hold IoU and F1, not 'Dice'"),
]
OPTIONS = [
    ("smooth apply {home}/nothing.json -i {home}/images -o {home}/out", "nothing.json is missing"),
    ("smooth apply {home}/study.yaml -i {home}/images -o {home}/out", "study.yaml cannot be read"),
    ("smooth fit -d 77 -c 2d -o {home}/out.json", "77"),
    ("smooth fit -d 9 -c 2d --lam nan -o {home}/out.json", "--lam must be above 0"),
    ("smooth fit -d 9 -c 3d_fullres -o {home}", "is a folder"),
    ("plan -d 77", "nnU-Net knows no data set 77"),
    ("plan -d nonsense", "nnU-Net knows no data set 'nonsense'"),
    ("plan -d ²", "nnU-Net knows no data set '²'"),
    ("plan -d ../9", r"a data set is named by its number .* not by '\.\./9'"),
    ("plan -d 9 -gpu_memory_target inf", "-gpu_memory_target must be above 0, got inf"),
    ("plan -d 9 -gpu_memory_target nan", "-gpu_memory_target must be above 0, got nan"),
    ("plan -d 9 -gpu_memory_target ²", "-gpu_memory_target must be above 0, got ²"),
    ("plan -d 9 -overwrite_target_spacing 0 0 0", "-overwrite_target_spacing must be above 0, got 0"),
    ("plan -d 9 -preprocessor_name Nope", "nnU-Net has no preprocessor 'Nope'"),
    ("plan -d 9 -pl Nope", "-pl must be one of default"),
    ("plan -d 9 --gate lam=-1", "--gate: .*lam"),
    ("plan -d 9 --gate nope=1", "--gate: unknown gate setting 'nope'"),
    ("plan -d 9 -overwrite_plans_name a/b", "without folder and ending, got 'a/b'"),
    ("plan -d 9 -overwrite_plans_name " + "n" * 300, "File name too long"),
    ("benchmark -d 77 -c 2d -device cpu", "nnU-Net knows no data set 77"),
    ("benchmark --preset 3d --patch 0 0 0", "--patch must be at least 1, got 0"),
    ("benchmark --preset 3d --batch nan", "--batch must be a whole number, got 'nan'"),
    ("benchmark --preset 3d --rounds ²", "--rounds must be a whole number, got '²'"),
    ("benchmark --preset 5d -device cpu", "no preset '5d'"),
    ("benchmark --plans {home}/file -c 2d -device cpu", "file cannot be read"),
    ("benchmark --plans {home} -c 2d -device cpu", "is missing|is a folder"),
    ("benchmark --preset 3d --json {home}/no/where.json", "does not exist"),
    ("inspect -d 77 -c 2d -i {home}/images -o {home}/out -device cpu", "nnU-Net knows no data set 77"),
    ("inspect -m {home}/file -f 0 -i {home}/images -o {home}/out -device cpu", "file is not a folder"),
    ("inspect -m {home}/images -f 0 -i {home}/images -o {home}/out -device cpu", "images holds no plans.json"),
    (USES["inspect"] + " -step_size inf", "-step_size must be above 0 and at most 1, got inf"),
    (USES["inspect"] + " -f ²", "-f takes numbers of folds, or all, got '²'"),
    (USES["inspect"] + " -f 4", "holds no checkpoint_final.pth of fold 4; there is one of fold 0"),
    (USES["inspect"] + " -chk nope.pth", "holds no nope.pth of fold 0"),
    (USES["inspect"] + " -o {home}/file", "file is a file"),
    (USES["inspect"] + " -o {home}/file/out", "file"),
    (USES["inspect"] + " -i {home}/truth", "holds no image"),
    ("inspect --training {home}/nowhere", "gates.csv is not there"),
    (USES["bundle"] + " -f 3", "fold_3/checkpoint_final.pth does not exist"),
    (USES["bundle"] + " -o {home}/file", "is there already"),
    ("bundle -m {home}/images -f 0 -o {home}/out", "must be nnU-Net's results folder"),
    ("bundle -d 77 -c 2d -o {home}/out", "nnU-Net knows no data set 77"),
    (USES["bundle"] + " -pp_pkl_file {home}/file", "home/file "),
    (USES["bundle"] + " --wheel {home}/file", "is not a wheel"),
    ("predict {home}/images -i {home}/images -o {home}/out -device cpu", "manifest.json"),
    (USES["predict"] + " -step_size nan", "-step_size must be above 0 and at most 1, got nan"),
    (USES["predict"] + " -f 9", "the bundle has no fold 9"),
    (USES["predict"] + " -i {home}/truth", "holds no image"),
    (USES["predict"] + " -i {home}/file", "is not a folder"),
    (USES["container"] + " --memory nan", "--memory must be above 0, got nan"),
    (USES["container"] + " --time-limit 0", "--time-limit must be above 0, got 0"),
    (USES["container"] + " -o {home}/file", "is there already"),
    (USES["container"] + " --input images/ct=9", "9"),
    (USES["warm-start"] + " -d 77", "nnU-Net knows no data set 77"),
    (USES["warm-start"] + " -p nope", "nope.json does not exist"),
    (USES["warm-start"] + " -c 4d", "has no configuration '4d'"),
    (USES["warm-start"] + " -tr Nope", "nnU-Net finds no trainer 'Nope'"),
    (USES["warm-start"] + " -tr nnUNetTrainer", "-tr must name a trainer that gates"),
    (USES["warm-start"] + " -o {home}", "exists|is a folder"),
    ("warm-start {home}/file -o {home}/out.pth", "file cannot be read as a checkpoint"),
    ("warm-start {home} -o {home}/out.pth", "is not a file"),
    ("warm-start {home}/vanilla.pth -o {home}/" + "n" * 300, "File name too long"),
    ("warm-start {home}/vanilla.pth -o {home}/file/out.pth", "Not a directory|is a file|cannot be"),
    (USES["metrics"] + " --labels 7", "--labels 7 occurs neither"),
    (USES["metrics"] + " --labels ²", "--labels must be a whole number, got '²'"),
    (USES["metrics"] + " --labels -1", "--labels"),
    (USES["metrics"] + " --batch-size 0", "--batch-size must be at least 1, got 0"),
    (USES["metrics of a fold"] + " --fold 5", "has folds 0 to 0, not 5"),
    (USES["metrics"] + " --json {home}", "is a folder|Is a directory"),
    ("metrics {home}/file {home}/truth", "is not a folder"),
    ("metrics {home}/study.yaml {home}/truth", "is not a folder"),
    (USES["compare"] + " --seed ²", "--seed must be a whole number, got '²'"),
    (USES["compare"] + " --seed -1", "--seed must be at least 0, got -1"),
    (USES["compare"] + " --workers 0", "--workers must be at least 1, got 0"),
    (USES["compare"] + " -f 7", "lacks fold 7|fold"),
    (USES["compare"] + " -o {home}/file", "file"),
    (USES["compare"] + " --worse-by dice=nan", "--worse-by"),
    (f"compare --folders {{home}}/{RUNS[0]} {{home}}/nowhere -o {{home}}/out", "nowhere is not a folder"),
    (f"compare --folders {{home}}/{RUNS[0]} {{home}}/{RUNS[0]} -o {{home}}/out", "is given twice"),
    ("compare 77 3d_fullres nnUNetTrainer nnUNetTrainerProSMA -o {home}/out", "nnU-Net knows no data set 77"),
    ("study {home}/nowhere.yaml -o {home}/out", "there is no file"),
    ("study {home}/file -o {home}/out", "file"),
    (USES["study"] + " -d 77", "nnU-Net knows no data set 77"),
    (USES["study"] + " -f ²", "-f must be a whole number, got '²'"),
    (USES["study"] + " -f 7", "fold 7 is not in"),
    (USES["convert"].replace("77", "0"), "DATASET_ID must be a number from 1 to 999, got 0"),
    (USES["convert"].replace("77", "²"), "DATASET_ID must be a whole number, got '²'"),
    (USES["convert"].replace("77", "9"), "number 9 is taken"),
    (USES["convert"] + " --size inf", "--size must be native or a number of pixels"),
    (USES["convert"] + " --size ²²", "--size must be native or a number of pixels"),
    ("convert glas {home}/busi 77", "holds no pictures of glas"),
    ("convert kvasir {home}/busi 77", "has no folder images"),
    ("convert busi {home}/file 77", "is not a folder"),
    ("demo -o {home}/file -device cpu", "is a file"),
    ("demo -o {home}/images -device cpu", "holds files that are not the demo's"),
    ("demo -o {home}/out --epochs nan", "--epochs must be a whole number, got 'nan'"),
    ("demo -o {home}/out --epochs 0", "--epochs must be at least 1, got 0"),
    ("demo -o {home}/out --epochs ²", "--epochs must be a whole number, got '²'"),
    ("demo -o {home}/out --size inf", "--size must be a whole number, got 'inf'"),
    ("demo -o {home}/out -device toaster", "toaster"),
    ("demo -o {home}/file/out -device cpu", "file/out"),
    ("demo -o {home}/" + "n" * 300 + " -device cpu", "File name too long"),
    (USES["study"] + " --checkpoint-every nan", "--checkpoint-every must be minutes from 0 on, got nan"),
    (USES["study"] + " --jobs 0", "--jobs must be at least 1, got 0"),
    (USES["study"] + " --run nowhere", "nowhere"),
    (USES["study"] + " -o {home}/file", "file"),
    ("demo -o {home}/out --size 4", "--size must be at least 16, got 4"),
]
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
WRONG = cases()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    make_home(home)
    return home


@pytest.fixture
def home(whole, tmp_path, monkeypatch):
    folder = tmp_path / "home"
    shutil.copytree(whole, folder)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(folder / name))
    monkeypatch.chdir(tmp_path)
    return folder


def call(words: str, home: Path) -> int:
    """argparse ends by SystemExit, which is the command's status all the same."""
    try:
        return command.main([word.replace("{home}", str(home)) for word in shlex.split(words)])
    except SystemExit as end:
        return int(end.code or 0)


def assert_one_sentence(status: int, error: str, says: str) -> None:
    assert status == 2, error[-2000:]
    assert "Traceback" not in error, error[-2000:]
    said = [line for line in error.splitlines() if line.startswith("nnunet-prosma")]
    assert said, error[-2000:]
    assert re.search(says, "\n".join(said)), said


def test_there_are_at_least_150_wrong_inputs_over_all_commands_that_read_or_write():
    assert len(WRONG) >= 150
    reading = set(command.SUBCOMMANDS) - {"doctor", "trainer-path", "completion"}
    assert reading <= {wrong.words.split()[0] for wrong in WRONG.values()}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_input_is_one_sentence_status_2_and_nothing_is_written(home, capsys, name):
    wrong = WRONG[name]
    if wrong.damage:
        wrong.damage(home)
    before = snapshot(home)
    status = call(wrong.words, home)
    assert_one_sentence(status, capsys.readouterr().err, wrong.says)
    assert snapshot(home) == before


@NO_GPU
@pytest.mark.parametrize("use", ["inspect", "benchmark", "demo", "predict"])
def test_a_gpu_that_is_not_there_is_one_sentence(home, capsys, use):
    before = snapshot(home)
    status = call(USES[use].replace("-device cpu", "-device cuda"), home)
    assert_one_sentence(status, capsys.readouterr().err, "cuda")
    assert snapshot(home) == before


@pytest.mark.parametrize("use", ["inspect", "benchmark", "predict", "warm-start", "study", "demo"])
def test_a_path_that_does_not_exist_is_one_sentence_in_every_command_that_computes_gates(
    home, capsys, monkeypatch, use
):
    monkeypatch.setenv("NNUNET_PROSMA_PATH", "sideways")
    before = snapshot(home)
    status = call(USES[use], home)
    error = capsys.readouterr().err
    assert_one_sentence(status, error, "NNUNET_PROSMA_PATH must be one of .*, or unset, got 'sideways'")
    assert error.count("NNUNET_PROSMA_PATH") == 1
    assert snapshot(home) == before


PROCESSES = [name for name in WRONG if not name.startswith(("warm-start: checkpoint", "inspect: plans"))][::17][:15]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCESSES)
def test_as_a_process_too(home, name):
    wrong = WRONG[name]
    if wrong.damage:
        wrong.damage(home)
    before = snapshot(home)
    words = [word.replace("{home}", str(home)) for word in shlex.split(wrong.words)]
    folders = {f"nnUNet_{part}": str(home / part) for part in ("raw", "preprocessed", "results")}
    status, _, error = run_as_newcomer(COMMAND, *words, **folders)
    assert_one_sentence(status, error, wrong.says)
    assert snapshot(home) == before

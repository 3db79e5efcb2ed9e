"""Files with something wrong in them, one place at a time, and what the sentence about each says."""

import shutil
from pathlib import Path
from typing import Any

import torch
from wrong_home import edit_checkpoint
from wrong_uses import MODEL, NAME, PLANNED, RUNS, USES, Wrong, edited, replaced, set_study

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


def wrong_files() -> dict[str, Wrong]:
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
        for use in ("metrics of a fold", "study", "status"):
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
    for place, value, says in (
        ("statistics", 5, r"\$\.statistics must be a list, and is a whole number"),
        ("statistics/0/n", "x", r"\$\.statistics\[0\]\.n must be a whole number, and is text"),
        ("statistics/0/mean_interval", [0, 1], r"\$\.statistics\[0\]\.mean_interval must be an object or null"),
        ("runs", [], r"\$\.runs must hold the runs that are compared"),
        ("runs/0/dataset", None, r"\$\.runs\[0\]\.dataset must be text, and is null"),
        ("verdicts", {}, r"\$\.verdicts must hold one on B"),
    ):
        found[f"across: summary.json, {place} {value}"] = Wrong(
            USES["across"], r"one/summary\.json: " + says, edited("reports/one/summary.json", place, value)
        )
    for name, use, says, damage in OTHERS:
        found[f"{use}: {name}"] = Wrong(USES[use], says, damage)
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
    ('title: "\\ud800"', "cannot be read as YAML: .*surrogates not allowed"),
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
    ("repeats", 10**30, "repeats must be a whole number from 1 to 1000, got 1000"),
    ("repeats", "3", "repeats must be a whole number from 1 to 1000"),
    ("arms", {"row": "a"}, "arms must be a list of at least one row"),
    ("arms/0", None, "arm 1 must hold settings"),
    ("arms/1/trainer", 5, "trainer of an arm must be text, got 5"),
    ("arms/1/row", None, "row of an arm must be text, got None"),
    ("arms/0/published", [], r"published must hold IoU and F1, got \[\]"),
    ("arms/0/published", {"F1": [1]}, r"published F1 must be a number, or text .* got \[1\]"),
    ("arms/0/published", {"Dice": 1}, "published may hold IoU and F1, not 'Dice'"),
]
IMAGES = f"raw/{NAME}/imagesTr"
OTHERS = [
    (
        "an infinite label",
        "warm-start",
        r"dataset\.json: nnU-Net cannot use its \$\.labels \(cannot convert float infinity",
        edited(f"{PLANNED}/dataset.json", "labels/background", float("inf")),
    ),
    (
        "an array among the network's arguments",
        "start",
        r"init_args/plans: \$\.configurations\.3d_fullres\.architecture\.arch_kwargs\.strides must be .* is an array",
        lambda home: edit_checkpoint(
            home / "vanilla.pth", f"init_args/plans/{C}/architecture/arch_kwargs/strides", torch.zeros(0)
        ),
    ),
    ("an empty image", "plan", r"case_0000\.nii\.gz is empty", replaced(f"{IMAGES}/case_0000.nii.gz", b"")),
    (
        "no images",
        "plan",
        "holds no training image",
        lambda home: [shutil.rmtree(home / IMAGES), (home / IMAGES).mkdir()],
    ),
    ("an empty truth", "predictions", r"truth/case\.nii\.gz is empty", replaced("truth/case.nii.gz", b"")),
    (
        "a truth that is none",
        "predictions",
        r"can be measured: .*truth/case\.nii\.gz cannot be read",
        replaced("truth/case.nii.gz", b"no image"),
    ),
]

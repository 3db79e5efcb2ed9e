"""nnunet-prosma smooth on a cross-validation and predictions as nnU-Net leaves them."""

import json
import re
import shutil
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from compare_workspace import counts, write_mask, write_run

from nnunet_prosma import command

FOLDS, CASES, SHAPE, SPACING = ("0", "1", "2"), 5, (6, 24, 24), (3.0, 1.0, 1.0)
IGNORE = 3
FIT = ["smooth", "fit", "-d", "9", "-c", "3d_fullres", "-f", *FOLDS, "--lam", "0.5", "1", "--sigma", "1.5"]


def _truth(rng, slices=SHAPE[0]):
    """A tumour in a liver, the same in each slice."""
    y, x = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij")
    cy, cx = rng.uniform(9, 14, 2)
    radius = rng.uniform(6, 8)
    far = (y - cy) ** 2 + (x - cx) ** 2
    flat = np.where(far < (radius / 2) ** 2, 2, np.where(far < radius**2, 1, 0)).astype(np.uint8)
    return np.broadcast_to(flat, (slices, *flat.shape)).copy()


def _probabilities(truth, noise, rng, regions):
    if regions:  # whole, core
        logits = np.stack([np.where(truth > 0, 1.5, -1.5), np.where(truth == 2, 1.5, -1.5)])
        return (1 / (1 + np.exp(-logits - noise * rng.normal(size=logits.shape)))).astype(np.float32)
    logits = 2.0 * (np.arange(3)[:, None, None, None] == truth) + noise * rng.normal(size=(3, *truth.shape))
    p = np.exp(logits)
    return (p / p.sum(0)).astype(np.float32)


def _harden(p, regions):
    return np.where(p[1] > 0.5, 2, np.where(p[0] > 0.5, 1, 0)) if regions else p.argmax(0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """make(noise, regions) fills nnU-Net's folders with a cross-validation; -> the trained folder."""
    results, preprocessed = tmp_path / "results", tmp_path / "preprocessed"
    for name, folder in (("results", results), ("preprocessed", preprocessed), ("raw", tmp_path / "raw")):
        folder.mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(folder))

    def make(noise, regions=False, seed=0, slices=SHAPE[0], ignore=False):
        rng = np.random.default_rng(seed)
        labels = (
            {"background": 0, "whole": [1, 2], "core": [2]} if regions else {"background": 0, "liver": 1, "tumour": 2}
        )
        labels |= {"ignore": IGNORE} if ignore else {}
        names = {f: [f"case_{f}{c}" for c in range(CASES)] for f in FOLDS}
        content = {f: {case: {1: counts(0.5)} for case in cases} for f, cases in names.items()}
        folder = write_run(results / "Dataset009_Toy", "nnUNetTrainer", content, dataset_labels=labels)
        for fold, cases in names.items():
            for case in cases:
                truth = _truth(rng, slices)
                p = _probabilities(truth, noise, rng, regions)
                place = folder / f"fold_{fold}" / "validation"
                if ignore:
                    truth[:, 8:12] = IGNORE
                write_mask(preprocessed / "Dataset009_Toy" / "gt_segmentations" / f"{case}.nii.gz", truth, SPACING)
                write_mask(place / f"{case}.nii.gz", _harden(p, regions), SPACING)
                np.savez_compressed(place / f"{case}.npz", probabilities=p)
        return folder

    return make


def _run(capsys, *arguments):
    status = command.main([str(a) for a in arguments])
    return status, *capsys.readouterr()


def _dice(a, b):
    return 2 * ((a > 0) & (b > 0)).sum() / ((a > 0).sum() + (b > 0).sum())


def _read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("regions", [False, True])
def test_where_noise_is_the_trouble_held_out_folds_say_that_it_helps_and_it_is_applied(home, regions, tmp_path, capsys):
    folder, settings = home(noise=1.0, regions=regions), tmp_path / "SMOOTH.json"
    status, out, err = _run(capsys, *FIT, "-o", settings)
    assert (status, err) == (0, "")
    assert "it is applied" in out
    content = json.loads(settings.read_text())
    assert any(prior["lam"] > 0 for prior in content["classes"].values())
    validation, output = folder / "fold_0" / "validation", tmp_path / "smoothed"
    status, out, err = _run(capsys, "smooth", "apply", settings, "-i", validation, "-o", output)
    assert (status, err) == (0, "")
    assert f"{CASES} segmentations" in out
    for file in output.glob("*.nii.gz"):
        truth = _read(tmp_path / "preprocessed" / "Dataset009_Toy" / "gt_segmentations" / file.name)
        assert _dice(_read(file), truth) > _dice(_read(validation / file.name), truth)
        assert sitk.ReadImage(str(file)).GetSpacing() == tuple(reversed(SPACING))
    assert len(list(output.glob("*.nii.gz"))) == CASES


@pytest.mark.parametrize("kind", [{"ignore": True}, {"slices": 1}])
def test_an_ignored_label_counts_for_nothing_and_images_of_one_slice_are_smoothed_too(home, kind, tmp_path, capsys):
    """The Dice without smoothing is counted here, voxel by voxel."""
    folder, settings = home(noise=1.0, **kind), tmp_path / "SMOOTH.json"
    assert _run(capsys, *FIT, "--lam", "1", "-o", settings)[0] == 0
    counted = []
    for file in folder.glob("fold_*/validation/*.nii.gz"):
        truth = _read(tmp_path / "preprocessed" / "Dataset009_Toy" / "gt_segmentations" / file.name)
        answer, known = _read(file)[truth != IGNORE], truth[truth != IGNORE]
        both = [2 * ((answer == k) & (known == k)).sum() / ((answer == k).sum() + (known == k).sum()) for k in (1, 2)]
        counted.append(np.mean(both))
    content = json.loads(settings.read_text())
    assert content["evidence"]["held_out"][0]["before"] == pytest.approx(np.mean(counted))
    assert any(prior["lam"] > 0 for prior in content["classes"].values())


def test_where_nothing_is_to_be_gained_nothing_is_applied_and_segmentations_stay_as_they_are(home, tmp_path, capsys):
    folder, settings = home(noise=0.0), tmp_path / "SMOOTH.json"
    status, out, _ = _run(capsys, *FIT, "-o", settings)
    assert status == 0
    assert "nothing is applied" in out
    assert all(prior["lam"] == 0 for prior in json.loads(settings.read_text())["classes"].values())
    validation, output = folder / "fold_1" / "validation", tmp_path / "smoothed"
    status, out, _ = _run(capsys, "smooth", "apply", settings, "-i", validation, "-o", output)
    assert status == 0
    assert "asks for nothing" in out
    for file in output.glob("*.nii.gz"):
        np.testing.assert_array_equal(_read(file), _read(validation / file.name))


def test_what_a_fold_is_judged_by_was_chosen_without_it(home):
    from nnunet_prosma.host.trained import read_trained
    from nnunet_prosma.smooth import fit as module

    folder = home(noise=1.0)
    trained = read_trained(folder)
    truths = folder.parents[2] / "preprocessed" / "Dataset009_Toy" / "gt_segmentations"
    members, _ = module.members_of(trained, FOLDS, truths)
    search = module.Search(lams=(1.0,), sigmas_mm=(1.5,))
    before = module.fit(trained, members, search).by_fold
    for member in members:  # fold 2's truth becomes one that smoothing can only spoil
        if member.fold == "2":
            write_mask(member.truth, _read(member.folder / f"{member.name}.nii.gz"), SPACING)
    after = module.fit(trained, members, search).by_fold
    assert after["2"] == before["2"]
    assert after["0"] != before["0"] or after["1"] != before["1"] or after == before


def test_several_processes_give_what_one_gives(home, tmp_path, capsys):
    home(noise=1.0)
    assert _run(capsys, *FIT, "-o", tmp_path / "one.json", "-np", "1")[0] == 0
    assert _run(capsys, *FIT, "-o", tmp_path / "two.json", "-np", "2")[0] == 0
    assert (tmp_path / "one.json").read_text() == (tmp_path / "two.json").read_text()


def test_a_worker_that_is_killed_is_told_in_a_sentence(home, tmp_path, capsys, monkeypatch):
    home(0.2)

    class Broken(ProcessPoolExecutor):
        def map(self, function, tasks):
            raise BrokenProcessPool

    monkeypatch.setattr("nnunet_prosma.host.workers.ProcessPoolExecutor", Broken)
    status, _, error = _run(capsys, *FIT, "-o", tmp_path / "s.json", "-np", "2")
    assert status == 2
    assert "a worker was killed, most likely for want of memory: use a smaller -np" in error


def test_what_was_found_is_told_even_if_it_cannot_be_written(home, tmp_path, capsys):
    home(0.2)
    (tmp_path / "file").touch()
    status, out, error = _run(capsys, *FIT, "-o", tmp_path / "file" / "s.json", "-np", "1")
    assert status == 2
    assert "each judged by what the other folds chose" in out
    assert "cannot be written" in error


def test_damaged_and_foreign_input_is_one_sentence(home, tmp_path, capsys):
    folder, settings = home(noise=1.0), tmp_path / "SMOOTH.json"
    assert _run(capsys, *FIT, "-o", settings)[0] == 0
    validation, output = folder / "fold_0" / "validation", tmp_path / "smoothed"
    good = settings.read_text()
    for damage, message in (
        (lambda c: c.update(eps=0), r"$.eps must be above 0"),
        (lambda c: c["classes"]["1"].update(lam=-1), "$.classes.1 must have a lam of at least 0"),
        (lambda c: c["classes"]["1"].update(volume="mine"), "$.classes.1.volume must be"),
        (lambda c: c["labels"].update({"1": "kidney"}), "was fitted for"),
        (lambda c: c.update(made_by="me"), "must be a SMOOTH.json"),
    ):
        content = json.loads(good)
        damage(content)
        settings.write_text(json.dumps(content))
        status, _, err = _run(capsys, "smooth", "apply", settings, "-i", validation, "-o", output)
        assert status == 2
        assert message in err
        assert "Traceback" not in err
        assert not output.exists()
    settings.write_text(good)
    case = validation / "case_00.npz"
    case.write_bytes(case.read_bytes()[:100])
    status, _, err = _run(capsys, "smooth", "apply", settings, "-i", validation, "-o", output)
    assert status == 2  # the others are done
    assert "case_00.npz cannot be read" in err
    assert len(list(output.glob("*.nii.gz"))) == CASES - 1
    (validation / "case_01.nii.gz").unlink()
    (validation / "case_02.npz").unlink()
    shutil.rmtree(output)
    status, out, err = _run(capsys, "smooth", "apply", settings, "-i", validation, "-o", output)
    assert status == 2
    assert f"{CASES - 3} segmentations" in out
    for said in ("case_00.npz cannot be", "case_01.nii.gz is missing", "case_02.npz is missing"):
        assert said in err
    assert len(list(output.glob("*.nii.gz"))) == CASES - 3


def _half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _partner(p):
    return p.with_suffix("").with_suffix(".nii.gz")


BAD = {
    "probabilities cut off": (lambda p, truth: _half(p), r"case_00\.npz cannot be read"),
    "NaN": (lambda p, truth: _save(p, np.full((3, *SHAPE), np.nan)), r"case_00\.npz must hold .* between 0 and 1"),
    "none at all": (lambda p, truth: _save(p, np.zeros((3, *SHAPE))), r"case_00\.npz must hold .* that sum to 1"),
    "of other classes": (lambda p, truth: _save(p, np.zeros((2, *SHAPE))), r"must hold probabilities of 3 classes"),
    "of another size": (lambda p, truth: _save(p, np.full((3, 2, 2, 2), 1 / 3)), r"and holds 3 x 2 x 2 x 2"),
    "objects": (lambda p, truth: _save(p, np.array([{}], object)), r"case_00\.npz cannot be read"),
    "another array": (lambda p, truth: np.savez(p, p=np.zeros(3)), r"case_00\.npz cannot be read"),
    "no probabilities": (lambda p, truth: p.unlink(), r"case_00\.npz is missing, which nnU-Net saves beside"),
    "no segmentation": (lambda p, truth: _partner(p).unlink(), r"validation/case_00\.nii\.gz is missing"),
    "segmentation cut off": (lambda p, truth: _half(_partner(p)), r"case_00\.nii\.gz cannot be read"),
    "no truth": (lambda p, truth: truth.unlink(), r"gt_segmentations/case_00\.nii\.gz is missing"),
    "truth cut off": (lambda p, truth: _half(truth), r"gt_segmentations/case_00\.nii\.gz cannot be read"),
    "truth of another image": (
        lambda p, truth: write_mask(truth, np.zeros((4, 4, 4), np.uint8), SPACING),
        r"case_00 is not of the image of .*gt_segmentations/case_00\.nii\.gz: it has 6 x 24 x 24 voxels",
    ),
    "truth of another spacing": (
        lambda p, truth: write_mask(truth, np.zeros(SHAPE, np.uint8), (1.0, 1.0, 1.0)),
        r"case_00 is not of the image of .*: it has a spacing",
    ),
}


def _save(path, p):
    np.savez_compressed(path, probabilities=p)


@pytest.mark.parametrize("half", [0, 1])
def test_fit_names_cases_that_cannot_be_read_and_gives_what_it_gives_without_them(home, half, tmp_path, capsys):
    folder, truths = home(noise=1.0), tmp_path / "preprocessed" / "Dataset009_Toy" / "gt_segmentations"
    quick, wrong = [*FIT, "--lam", "1", "--sigma", "1.5"], {}
    for number, (damage, says) in enumerate(list(BAD.values())[half::2]):
        fold, case = divmod(number, 3)
        name = f"case_{fold}{case}"
        damage(folder / f"fold_{fold}" / "validation" / f"{name}.npz", truths / f"{name}.nii.gz")
        wrong[name] = rf"{name} is left out: .*" + says.replace("case_00", name)
    status, out, err = _run(capsys, *quick, "-o", tmp_path / "bad.json")
    assert status == 2
    assert "Traceback" not in err
    *lines, last = err.splitlines()
    for line, says in zip(lines, wrong.values(), strict=True):
        assert re.search(says, line), line
    assert last.endswith("bad.json is fitted without 7 cases (case_00, case_01, case_02 and 4 more)")
    assert "Left out of all of it, since they cannot be read: 7 cases (case_00" in out
    for name in wrong:
        for file in folder.glob(f"fold_*/validation/{name}.n*"):
            file.unlink()
    status, expected, err = _run(capsys, *quick, "-o", tmp_path / "without.json")
    assert (status, err) == (0, "")
    bad, without = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("bad", "without"))
    assert bad["evidence"].pop("left_out") == list(wrong)
    assert without["evidence"].pop("left_out") == []
    assert bad == without
    assert "over 8 cases" in expected


def test_a_case_of_several_folds_counts_in_the_first(home, tmp_path, capsys):
    """Splits may overlap, as the paper's do: a case must not be judged by what was chosen on it."""
    folder, quick = home(noise=1.0), [*FIT, "--lam", "1", "--sigma", "1.5"]
    _, before, _ = _run(capsys, *quick, "-o", tmp_path / "apart.json")
    assert "Several" not in before
    for file in (folder / "fold_0" / "validation").glob("case_00.*"):
        shutil.copy(file, folder / "fold_1" / "validation")
    status, said, err = _run(capsys, *quick, "-o", tmp_path / "twice.json")
    assert (status, err) == (0, "")
    assert "Several of these folds validated 1 case (case_00): each counts in the first of them." in said
    assert (tmp_path / "twice.json").read_text() == (tmp_path / "apart.json").read_text()


def test_without_two_folds_that_can_be_read_nothing_is_fitted(home, tmp_path, capsys):
    folder = home(noise=1.0)
    for file in folder.glob("fold_0/validation/*.npz"):
        _half(file)
    status, _, err = _run(capsys, *FIT, "-f", "0", "1", "-o", tmp_path / "SMOOTH.json")
    assert status == 2
    assert "fit needs 2 folds or more" in err
    assert "since 5 cases are left out: " in err
    assert "case_00.npz cannot be read" in err
    assert not (tmp_path / "SMOOTH.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--volume", "liver=5..2ml"], "--volume must be NAME=LEAST..MOSTml"),
        (["--volume", "spleen=1..2ml"], "with a name of liver, tumour"),
        (["-f", "0"], "fit needs 2 folds or more"),
        (["-f", "0", "7"], "has no fold_7"),
        (["--lam", "inf"], "--lam must be above 0"),
        (["--eps", "0"], "--eps must be above 0"),
    ],
)
def test_wrong_options_of_fit_are_one_sentence(home, arguments, message, tmp_path, capsys):
    home(noise=1.0)
    status, _, err = _run(capsys, *FIT, *arguments, "-o", tmp_path / "SMOOTH.json")
    assert status == 2
    assert message in err
    assert not (tmp_path / "SMOOTH.json").exists()

"""Cases that belong together: named by a file or an expression, seen in names, and counted as one draw."""

import json

import numpy as np
import pytest
from compare_workspace import counts, write_run

from nnunet_prosma.command import main
from nnunet_prosma.compare.clusters import clusters_of, note
from nnunet_prosma.errors import InputError
from nnunet_prosma.statistics.sign_flip import sign_flip
from nnunet_prosma.statistics.studentised import mean_intervals

HEART = ["patient001_frame01", "patient001_frame12", "patient002_frame01", "patient002_frame14"]


@pytest.mark.parametrize("given", [r"^(patient\d+)_", r"patient\d+"])
def test_an_expression_names_the_cluster(given):
    assert clusters_of(HEART, given) == ["patient001", "patient001", "patient002", "patient002"]


@pytest.mark.parametrize("separator", [",", "\t"])
def test_a_file_names_the_cluster(tmp_path, separator):
    file = tmp_path / "clusters"
    file.write_text("".join(f"{case}{separator}{i // 2}\n" for i, case in enumerate(HEART)))
    assert clusters_of(HEART, str(file)) == ["0", "0", "1", "1"]


def test_what_names_no_cluster_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"it is not in the case patient002_frame14"):
        clusters_of(HEART, r"(patient\d+)_frame(01|12)")
    with pytest.raises(InputError, match="neither a file nor a regular expression"):
        clusters_of(HEART, "(patient")
    file = tmp_path / "clusters.csv"
    file.write_text("patient001_frame01,1\npatient001_frame01,2\n")
    with pytest.raises(InputError, match="two clusters for the case patient001_frame01"):
        clusters_of(HEART, str(file))
    file.write_text("patient001_frame01,1\n")
    with pytest.raises(InputError, match="it has none for 3 cases"):
        clusters_of(HEART, str(file))


@pytest.mark.parametrize(
    ("cases", "groups"),
    [
        (HEART, 2),
        (["vol1_003", "vol1_004", "vol2-17"], 2),
        (["case_0001", "case_0002", "case_0003"], None),
        (["liver_1", "liver_10", "other"], None),
        (["BRATS_001", "BRATS_002"], None),
        (["s01_a", "s02_a", "s03_a", "s04_b"], None),
    ],
)
def test_names_that_look_like_groups_are_a_note(cases, groups):
    found = list(note(cases))
    assert len(found) == (groups is not None)
    if found:
        assert f"may be {groups} groups" in found[0].sentence
        expression = found[0].sentence.partition("--cluster '")[2].rpartition("'")[0]
        assert len(set(clusters_of(cases, expression))) == groups


def test_a_report_by_cluster_counts_clusters_and_one_without_says_what_names_tell(tmp_path, capsys):
    names = {"background": 0, "liver": 1}
    rng = np.random.default_rng(0)
    dice = [0.5 + np.repeat(rng.normal(0, 0.1, 12), 4), 0.5 + np.repeat(rng.normal(0.07, 0.1, 12), 4)]
    runs = [
        write_run(
            tmp_path,
            t,
            {"0": {f"p{i // 4:02}_f{i % 4}": {1: counts(d)} for i, d in enumerate(of)}},
            dataset_labels=names,
        )
        for t, of in zip("AB", dice, strict=True)
    ]
    command = ["compare", "--folders", *map(str, runs), "--tables-only", "-o", str(tmp_path / "report")]
    assert main(command) == 0
    plain = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert any(f["kind"] == "clusters" and "48 cases may be 12 groups" in f["sentence"] for f in plain["findings"])
    assert main([*command, "--cluster", r"^(p\d+)_"]) == 0
    clustered = json.loads((tmp_path / "report" / "summary.json").read_text())
    before, after = plain["statistics"][0], clustered["statistics"][0]
    assert (before["clusters"], after["clusters"], after["n"]) == (None, 12, 48)
    assert after["mean_difference"] == before["mean_difference"]
    width = [row["mean_interval"]["high"] - row["mean_interval"]["low"] for row in (before, after)]
    assert width[1] > 1.8 * width[0]
    assert after["p"] > before["p"]
    assert "Over 48 cases of 12 clusters" in capsys.readouterr().out
    assert "(no interval: cases belong together)" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.parametrize("clusters", [10, 30])
def test_with_clusters_of_unequal_size_nothing_is_called_different_too_often(clusters):
    rng = np.random.default_rng(clusters)
    false = covered = 0
    for repeat in range(300):
        units = np.repeat(np.arange(clusters), rng.integers(1, 6, clusters))
        d = rng.normal(0, 0.03, clusters)[units] + rng.normal(0, 0.02, len(units))
        p = sign_flip(d[:, None], repeat, units=units, flips=499).p[0]
        false += p < 0.05
        interval = mean_intervals(d[:, None], [0.95], repeat, units, resamples=499)[0]
        covered += interval.low <= 0 <= interval.high
    assert false / 300 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert covered / 300 > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300)

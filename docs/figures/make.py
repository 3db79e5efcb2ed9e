"""Makes the figures of README and docs anew, by the package's own commands on a demo: make figures.

    python docs/figures/make.py [--demo FOLDER] [--work FOLDER]

FOLDER is what nnunet-prosma demo -o wrote; without one, the demo is run first. chromium takes the pictures of pages.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from nnunet_prosma.demo import ITERATIONS, TRAINERS
from nnunet_prosma.demo.environment import environment
from nnunet_prosma.demo.phantom import LABELS

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

HERE = Path(__file__).parent
DATASET = "Dataset901_Phantom"
COLOURS = ListedColormap([(0, 0, 0, 0), "#3b82f6", "#f59e0b"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("nnunet_prosma_demo"), help="default: %(default)s")
    parser.add_argument("--work", type=Path, help="folder for the pages that are shown; default: one that is removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        run(sys.executable, str(HERE / "network.py"))
        run(sys.executable, str(HERE / "found.py"))
        if not (options.demo / "demo.json").is_file():
            run("nnunet-prosma", "demo", "-o", str(options.demo), "-device", "cpu")
        demo = options.demo.absolute()
        env = environment(demo, epochs=1, iterations=ITERATIONS, augmenters=1)
        raw, results = Path("raw", DATASET), Path("results", DATASET)  # seen from the demo, since pages show paths
        vanilla, gated = (str(results / f"{trainer}__nnUNetPlans__3d_fullres") for trainer in TRAINERS)
        images = ("-i", str(raw / "imagesTs"), "-gt", str(raw / "labelsTs"))
        seen, report = work.absolute() / "inspect", work.absolute() / "report"
        if not seen.exists():
            model = ("-m", gated, "-f", "0", "-device", "cpu", "--support", "--quiet")
            run("nnunet-prosma", "inspect", *model, *images, "-o", str(seen), env=env, cwd=demo)
        if not report.exists():
            folders = ("--folders", vanilla, gated, "-f", "0")
            run("nnunet-prosma", "compare", *folders, "-o", str(report), env=env, cwd=demo, accept=(0, 1))
        gate_figure(demo, demo / raw, seen)
        inspected(work.absolute() / "page")
        records_of_starts(work.absolute() / "starts")
        shutil.copyfile(demo / "demo.png", HERE / "demo.png")
        screenshot(report / "report.html", HERE / "compare.png", 1200, 1150)
    for path in sorted(HERE.glob("*.png")):
        smaller(path)
        print(path.name, path.stat().st_size // 1000, "kB")


def inspected(work: Path) -> None:
    """inspect.png: the top of inspect's page of a small model of the tests, whose two gates are drawn large."""
    tests = Path("tests")  # seen from the checkout, since pages show paths
    (work / "images").mkdir(parents=True)
    shutil.copy(HERE.parents[1] / tests / "fixtures/v0_1/images/case_009_0000.nii.gz", work / "images")
    model = tests / "fixtures/v0_1/training/nnUNetTrainerProSMAShort__tinyPlans__3d_fullres"
    words = ("inspect", "-m", str(model), "-f", "0", "-device", "cpu", "--quiet")
    env = os.environ | {"nnUNet_extTrainer": str(HERE.parents[1] / tests / "extension")}
    run("nnunet-prosma", *words, "-i", str(work / "images"), "-o", str(work / "seen"), env=env, cwd=HERE.parents[1])
    screenshot(work / "seen" / "index.html", HERE / "inspect.png", 1000, 1000)


def records_of_starts(work: Path) -> None:
    """starts.png: what the gates of docs/results.md came to, by how they start."""
    records = HERE.parent / "results" / "screening64"
    folders = [str(records / name) for name in ("the-papers-start", "open", "residual", "open-and-residual")]
    run("nnunet-prosma", "inspect", "--training", *folders, "-o", str(work))
    picture = Image.open(work / "gates.png").convert("RGB")
    picture.resize((1680, picture.height * 1680 // picture.width), Image.Resampling.LANCZOS).save(HERE / "starts.png")


def run(
    command: str,
    *arguments: str,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    accept: Sequence[int] = (0,),
) -> None:
    """A command of the environment whose Python this is. compare says 1 where so few cases allow no conclusion."""
    path = Path(sys.executable).with_name(command) if os.sep not in command else command
    done = subprocess.run([path, *arguments], env=env, cwd=cwd)
    if done.returncode not in accept:
        sys.exit(f"{command} {' '.join(arguments)} ended with status {done.returncode}")


def gate_figure(demo: Path, raw: Path, seen: Path) -> None:
    """gate.png: one slice of a held-out phantom, what the finest gate makes of it, and both predictions."""
    name = sorted(path.name.removesuffix(".nii.gz") for path in (raw / "labelsTs").glob("*.nii.gz"))[0]
    truth = read(raw / "labelsTs" / f"{name}.nii.gz")
    z = int((truth > 0).sum((1, 2)).argmax())
    image = read(raw / "imagesTs" / f"{name}_0000.nii.gz")[z]
    finest = max(int(path.name.split("psi_gate")[1].split(".")[0]) for path in seen.glob("maps/*_psi_gate*.nii.gz"))
    psi, support = (read(seen / "maps" / f"{name}_{kind}_gate{finest}.nii.gz")[z] for kind in ("psi", "support"))
    vanilla, gated = (read(demo / "predictions" / trainer / f"{name}.nii.gz")[z] for trainer in TRAINERS)
    figure, axes = plt.subplots(1, 6, figsize=(12, 2.6))
    figure.subplots_adjust(left=0.01, right=0.99, wspace=0.06)
    titles = ["image", "psi: where the gate\nis open", "share of responses that\nthe threshold keeps"]
    titles += ["prediction,\nvanilla nnU-Net", "prediction,\nwith gates", "truth"]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].imshow(image, cmap="gray")
    for axis, values, limits in ((axes[1], psi, (0, 1)), (axes[2], support, (0, 1))):
        drawn = axis.imshow(values, cmap="PuOr_r" if axis is axes[1] else "viridis", vmin=limits[0], vmax=limits[1])
        below = axis.inset_axes((0.1, -0.12, 0.8, 0.05))
        figure.colorbar(drawn, cax=below, orientation="horizontal").ax.tick_params(labelsize=8)
    for axis, labels in zip(axes[3:], (vanilla, gated, truth[z]), strict=True):
        axis.imshow(image, cmap="gray")
        axis.imshow(labels, cmap=COLOURS, vmin=0, vmax=len(LABELS) - 1, alpha=0.75, interpolation="nearest")
    figure.savefig(HERE / "gate.png", dpi=100, bbox_inches="tight")
    plt.close(figure)


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("the pictures of pages need chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        size = [f"--window-size={width},{height}", f"--screenshot={picture}"]
        subprocess.run([chromium, *flags, *size, page.absolute().as_uri()], check=True, capture_output=True)


def smaller(path: Path) -> None:
    """256 colours are enough for pages and phantoms."""
    image = Image.open(path).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()

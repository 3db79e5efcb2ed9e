"""nnunet-prosma demo: nnU-Net's real commands on a built-in phantom, once vanilla and once with ProSMA gates."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from nnunet_prosma.arguments import add_device, add_quiet, command_parser, whole
from nnunet_prosma.errors import InputError

TRAINERS = {"nnUNetTrainerDemo": "vanilla nnU-Net", "nnUNetTrainerProSMADemo": "nnU-Net with ProSMA gates"}
DATASET = "Dataset901_Phantom"
CONFIGURATION = "3d_fullres"
ITERATIONS = 16
TRAIN, TEST = range(10), range(100, 104)
"""Seeds of the phantoms to train and validate on, and of those held out."""

CAVEAT = """\
This shows that the pipeline works. It is no evidence for or against
the gates: a few minutes of training, one run each, and phantoms. Trainings that short differ from run to run."""

REAL_DATA = """\
With data of your own, number 9 say, in nnU-Net's format and folders:
  nnUNetv2_plan_and_preprocess -d 9
  nnUNetv2_train 9 3d_fullres 0 -tr nnUNetTrainerProSMA
  nnUNetv2_train 9 3d_fullres 0                            (vanilla, to compare with)
  nnUNetv2_predict -i IMAGES -o PREDICTIONS -d 9 -c 3d_fullres -f 0 -tr nnUNetTrainerProSMA"""


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "demo",
        description="Train vanilla nnU-Net and nnU-Net with ProSMA gates on built-in phantoms by nnU-Net's own "
        "commands, and show both on held-out phantoms. About 4 minutes on two CPU cores.",
    )
    parser.add_argument(
        "-o", metavar="FOLDER", type=Path, default=Path("nnunet_prosma_demo"), help="default: %(default)s"
    )
    add_device(parser)
    parser.add_argument(
        "--epochs", metavar="N", type=whole(1), default=10, help="of each training; default: %(default)s"
    )
    parser.add_argument(
        "--size",
        metavar="VOXELS",
        type=whole(16),
        default=32,
        help="edge of a phantom, 16 or more; default: %(default)s",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the demo that is in FOLDER already")
    add_quiet(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    from nnunet_prosma.fast.concatenation import forced_path
    from nnunet_prosma.host.devices import choose_device

    forced_path()  # refuses a bad one before anything is written
    try:
        demonstrate(
            options.o.absolute(),
            device=choose_device(options.device),
            epochs=options.epochs,
            size=options.size,
            overwrite=options.overwrite,
        )
    except OSError as error:
        raise InputError(f"cannot write the demo into {options.o}: {error.strerror or error}") from error
    return 0


def demonstrate(folder: Path, *, device: str, epochs: int, size: int, overwrite: bool) -> None:
    from nnunet_prosma.demo.environment import environment
    from nnunet_prosma.demo.folder import claim
    from nnunet_prosma.demo.phantom import write_dataset
    from nnunet_prosma.demo.report import Outcome, clock, draw, table, write_numbers
    from nnunet_prosma.demo.training import train
    from nnunet_prosma.host.processes import run

    claim(folder, overwrite)
    env = environment(folder, epochs=epochs, iterations=ITERATIONS, augmenters=1 if device == "cpu" else 4)
    begin = time.monotonic()

    def say(step: int, text: str) -> None:
        print(f"[{step}/6 {clock(time.monotonic() - begin)}] {text}", flush=True)

    print(f"The demo works on {device}, in {folder}; what nnU-Net prints goes to {folder / 'logs'}", flush=True)
    say(1, f"writing {len(TRAIN)} phantoms to train on and {len(TEST)} to hold out, of {size} x {size} x {size} voxels")
    dataset = write_dataset(folder / "raw", train=TRAIN, test=TEST, dataset=DATASET, size=size)
    number = DATASET[len("Dataset") :].split("_")[0]

    say(2, "nnUNetv2_plan_and_preprocess: the network and the training as nnU-Net configures them for the phantoms")
    plan = ["nnUNetv2_plan_and_preprocess", "-d", number, "-c", CONFIGURATION, "-np", "1", "-npfp", "1"]
    run(plan, folder / "logs" / "plan_and_preprocess.txt", env)

    trained = {}
    for step, (trainer, title) in enumerate(TRAINERS.items(), start=3):
        say(step, f"nnUNetv2_train: {title}, {epochs} x {ITERATIONS} iterations")
        command = ["nnUNetv2_train", number, CONFIGURATION, "0", "-tr", trainer, "-device", device]
        trained[trainer] = train(command, epochs, folder / "logs" / f"train_{trainer}.txt", env)

    say(5, "nnUNetv2_predict and nnUNetv2_evaluate_folder: the phantoms held out")
    outcomes = []
    for trainer, title in TRAINERS.items():
        to = folder / "predictions" / trainer
        model = ["-d", number, "-c", CONFIGURATION, "-f", "0", "-tr", trainer, "-device", device]
        paths = ["-i", str(dataset / "imagesTs"), "-o", str(to)]
        predict = ["nnUNetv2_predict", *paths, *model, "-npp", "0", "-nps", "0"]
        run(predict, folder / "logs" / f"predict_{trainer}.txt", env)
        files = ["-djfile", str(to / "dataset.json"), "-pfile", str(to / "plans.json")]
        evaluate = ["nnUNetv2_evaluate_folder", str(dataset / "labelsTs"), str(to), *files, "-np", "1"]
        run(evaluate, folder / "logs" / f"evaluate_{trainer}.txt", env)
        outcomes.append(Outcome(trainer, title, trained[trainer], to))

    say(6, "nnunet-prosma inspect, the table and the picture")
    gated = folder / "results" / DATASET / f"{list(TRAINERS)[-1]}__nnUNetPlans__{CONFIGURATION}"
    looked = ["-i", str(dataset / "imagesTs"), "-gt", str(dataset / "labelsTs"), "-o", str(folder / "inspect")]
    inspect = ["nnunet-prosma", "inspect", "-m", str(gated), "-f", "0", "-device", device, "--quiet", *looked]
    run(inspect, folder / "logs" / "inspect.txt", env)
    write_numbers(folder / "demo.json", outcomes)
    draw(folder / "demo.png", dataset, list(TEST)[:2], outcomes, folder / "inspect" / "maps")
    print(f"\n{table(outcomes)}\n\nMean over the {len(TEST)} phantoms held out. {CAVEAT}\n")
    print(f"Picture: {folder / 'demo.png'}\nGates:   {folder / 'inspect' / 'index.html'}\n\n{REAL_DATA}")

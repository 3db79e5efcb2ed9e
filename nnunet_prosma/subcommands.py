"""The sub-commands of nnunet-prosma: module, group, what each is for, and examples that its --help shows."""

from typing import NamedTuple


class Subcommand(NamedTuple):
    """A module with parser() -> ArgumentParser and main(arguments) -> exit status; it is imported only when called."""

    module: str
    group: str
    about: str
    examples: tuple[str, ...]


GROUPS = {
    "start": "Start",
    "train": "Train",
    "look": "Look into a model",
    "compare": "Compare",
    "ship": "Ship a model",
}

SUBCOMMANDS = {
    "demo": Subcommand(
        "nnunet_prosma.demo",
        "start",
        "train vanilla and gated nnU-Net on phantoms, and show both: a few minutes",
        ("", "-o demo --epochs 3"),
    ),
    "doctor": Subcommand(
        "nnunet_prosma.doctor",
        "start",
        "say whether nnU-Net finds the trainers here, and what to do if not",
        ("", "--json", "RESULTS/Dataset009_Spleen"),
    ),
    "trainer-path": Subcommand(
        "nnunet_prosma.host.trainer_path",
        "start",
        "print the directory for an export of nnUNet_extTrainer",
        ("",),
    ),
    "completion": Subcommand(
        "nnunet_prosma.completion",
        "start",
        "print what a shell reads to complete commands and options",
        ("bash > ~/.local/share/bash-completion/completions/nnunet-prosma",),
    ),
    "plan": Subcommand(
        "nnunet_prosma.plan.command",
        "train",
        "plan a data set with the gates in the network and in the memory it may take",
        ("-d 9", "-d 9 -pl ResEncL -gpu_memory_target 24", "-d 9 --gate lam=0.1 dilations=1,2"),
    ),
    "warm-start": Subcommand(
        "nnunet_prosma.warm_start.command",
        "train",
        "make the start of a gated training from a trained nnU-Net",
        ("fold_0/checkpoint_final.pth -o START.pth",),
    ),
    "convert": Subcommand(
        "nnunet_prosma.convert",
        "train",
        "make a data set of BUSI, GlaS or Kvasir-SEG, with the paper's splits",
        ("kvasir ~/Downloads/Kvasir-SEG 503", "busi ~/Downloads/Dataset_BUSI_with_GT 501 --size native"),
    ),
    "study": Subcommand(
        "nnunet_prosma.study",
        "train",
        "train a list of trainers over folds, compare them, and write a paper's table",
        (
            "--list",
            "table3 -o table3/",
            "table3 --show > mine.yaml",
            "mine.yaml -o OUT --gpus 0 1 2 3",
            'mine.yaml -o OUT --slurm --sbatch="-p gpu -t 24:00:00 -c 12 --gres gpu:1"',
            "mine.yaml -o OUT --status",
        ),
    ),
    "inspect": Subcommand(
        "nnunet_prosma.inspect.command",
        "look",
        "show what the gates let through: maps, figures, numbers by case",
        ("-d 9 -c 3d_fullres -tr nnUNetTrainerProSMA -f 0 -i IMAGES -o GATES", "--training RESULTS/fold_0"),
    ),
    "benchmark": Subcommand(
        "nnunet_prosma.benchmark",
        "look",
        "measure what gates cost on a plan's network, in time and in memory",
        ("-d 9 -c 3d_fullres", "--preset 3d --patch 64 64 64 --batch 1 -device cpu"),
    ),
    "compare": Subcommand(
        "nnunet_prosma.compare.command",
        "compare",
        "hold trainings against each other: fairness, statistics, a report",
        (
            "9 3d_fullres nnUNetTrainer nnUNetTrainerProSMA -o report/",
            "--folders RESULTS_A RESULTS_B -o report/ -f 0 --tolerance 2 tumour=4",
        ),
    ),
    "metrics": Subcommand(
        "nnunet_prosma.metrics",
        "compare",
        "IoU and F1 per image, pooled per batch and pooled over a data set",
        ("RESULTS/fold_0/validation PREPROCESSED/gt_segmentations",),
    ),
    "smooth": Subcommand(
        "nnunet_prosma.smooth.command",
        "ship",
        "give segmentations short boundaries, where cross-validation shows that it helps",
        (
            "fit -d 9 -c 3d_fullres -tr nnUNetTrainerProSMA -f 0 1 2 3 4 -o SMOOTH.json",
            "apply SMOOTH.json -i PROBABILITIES -o SEGMENTATIONS",
        ),
    ),
    "bundle": Subcommand(
        "nnunet_prosma.bundle.command",
        "ship",
        "gather trained models into one folder that predicts elsewhere",
        ("-d 9 -c 3d_fullres -o BUNDLE", "-d 9 -c 2d 3d_fullres -f 0 1 -o ENSEMBLE"),
    ),
    "predict": Subcommand(
        "nnunet_prosma.bundle.predict",
        "ship",
        "segment images with a bundle, once it is seen to be whole",
        ("BUNDLE -i IMAGES -o SEGMENTATIONS",),
    ),
    "container": Subcommand(
        "nnunet_prosma.container.command",
        "ship",
        "write what a challenge's container is built from, of a bundle",
        ("BUNDLE --input images/ct=CT --output images/spleen-segmentation -o submission/",),
    ),
}

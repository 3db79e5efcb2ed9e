"""nnUNetv2_train as a study starts it, with ranks that nnU-Net puts on GPUs by nccl pretended on the CPU by gloo.

A program for test_ranks.py. Each rank imports it anew, so what it pretends holds there too.
"""

import torch
from nnunetv2.run import run_training as host
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as trainers  # noqa: N813
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

host.setup_ddp = lambda rank, size: distributed.init_process_group("gloo", rank=rank, world_size=size)
torch.cuda.set_device = lambda device: None
trainers.DDP = lambda network, device_ids: DistributedDataParallel(network)

if __name__ == "__main__":
    from nnunet_prosma.host.train import main

    main()

"""nnunet-prosma warm-start: from a trained network without gates to the start of a training with them."""

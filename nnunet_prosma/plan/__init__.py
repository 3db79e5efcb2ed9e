"""nnunet-prosma plan: nnU-Net's planners with the gates in the network and in its memory."""

"""nnunet-prosma smooth: soft threshold dynamics on nnU-Net's probabilities, where cross-validation shows a gain."""

"""nnunet-prosma inspect: what the gates of a trained network let through, case by case."""

"""nnunet-prosma compare: two or more nnU-Net trainings held against each other, case by case, fairly."""

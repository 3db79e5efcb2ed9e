"""nnunet-prosma bundle and predict: a trained model as one folder that predicts on another machine."""

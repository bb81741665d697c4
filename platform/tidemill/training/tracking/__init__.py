"""Record the inputs and results of trainings in MLflow."""

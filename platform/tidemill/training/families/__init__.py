"""Ready-made model families, which ``train.families`` in ``params.yaml`` names."""

"""One module for each check that ``gates`` in ``params.yaml`` can ask for."""

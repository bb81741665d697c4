"""Traces lineage: one chain of records from the data to a prediction, read in both directions."""

from tidemill.training.tracking.private_mlflow import import_gateway_late

import_gateway_late()

"""Train models: split a training set by time, search over model families, and record everything."""

from tidemill.training.tracking.private_mlflow import import_gateway_late

import_gateway_late()

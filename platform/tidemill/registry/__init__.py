"""Model versions, the gate before the champion, and who served when."""

from tidemill.training.tracking.private_mlflow import import_gateway_late

import_gateway_late()

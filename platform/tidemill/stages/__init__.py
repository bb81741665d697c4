"""The DVC stages of projects without code of their own: ``python -m tidemill.stages.ingest`` and so on."""

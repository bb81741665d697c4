"""Features through Feast: their history for training, their latest values for serving.

Importing this package imports no engine; import the module that you need: `tidemill.features.store`
(definitions, training frames, materialisation), `tidemill.features.online` (lookups),
`tidemill.features.offline` (the offline store that ``feature_store.yaml`` names).
"""

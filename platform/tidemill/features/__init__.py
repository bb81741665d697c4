"""Features through Feast: their history for training, their latest values for serving.

Importing this package imports no engine; import the module that you need: `tidemill.features.feature_store`
(definitions, training frames, materialisation), `tidemill.features.online.online_features` (lookups),
`tidemill.features.offline.offline_store` (the offline store that ``feature_store.yaml`` names).
"""

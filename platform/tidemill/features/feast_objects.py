"""The classes of Feast that other packages need: only this package imports Feast itself."""

from feast import Entity, FeatureService, FeatureStore, FeatureView, FileSource, OnDemandFeatureView
from feast.data_source import DataSource
from feast.value_type import ValueType

__all__ = [
    "DataSource",
    "Entity",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "FileSource",
    "OnDemandFeatureView",
    "ValueType",
]

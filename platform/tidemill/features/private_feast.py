"""The undocumented names of Feast that Tidemill uses, and why.

Documented are the objects of a feature repository, `feast.FeatureStore`, and the interfaces of offline
stores, online stores and batch engines. What Tidemill needs beyond them is imported from here and nowhere
else; names of Feast's Redis store are in `tidemill.features.online.private_feast_redis`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import uuid4

from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
    RequestSource,
)
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME, DUMMY_ENTITY_VAL
from feast.feature_view_projection import FeatureViewProjection
from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.key_encoding_utils import deserialize_entity_key, serialize_entity_key
from feast.infra.online_stores.helpers import compute_table_id, compute_versioned_name
from feast.infra.registry.base_registry import BaseRegistry
from feast.infra.registry.file import FileRegistryStore
from feast.monitoring.metrics_calculator import MetricsCalculator
from feast.monitoring.monitoring_utils import (
    MONITORING_DIR,
    monitoring_parquet_meta,
    normalize_monitoring_row,
)
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_operations import get_repo_files
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.utils import compute_non_entity_date_range
from typeguard import typechecked

from tidemill.files.atomic import replace_file

__all__ = [
    "DUMMY_ENTITY_ID",
    "DUMMY_ENTITY_NAME",
    "DUMMY_ENTITY_VAL",
    "MONITORING_DIR",
    "NAMES",
    "EntityKey",
    "FeatureViewProjection",
    "LocalMaterializationJob",
    "MetricsCalculator",
    "OneViewEngine",
    "Value",
    "check_constructors",
    "compute_non_entity_date_range",
    "compute_table_id",
    "compute_versioned_name",
    "deserialize_entity_key",
    "feast_value_type_to_python_type",
    "get_repo_files",
    "infer_types",
    "monitoring_parquet_meta",
    "normalize_monitoring_row",
    "python_values_to_proto_values",
    "serialize_entity_key",
]

_DEFINED: tuple[Any, ...] = (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    PushSource,
    RequestSource,
)

NAMES = (
    ("feast.data_source.typechecked", "is how Feast checks types, which takes seconds at each import"),
    ("feast.FeatureStore._make_inferences", "infers the types that definitions leave out, as applying does"),
    ("feast.feature_server.start_server", "is a server of Feast's, which `tidemill.features` puts off"),
    ("feast.feature_view.DUMMY_ENTITY_ID", "is the key column of a view without entities"),
    ("feast.feature_view.DUMMY_ENTITY_NAME", "is the entity of such a view, which no definition names"),
    ("feast.feature_view.DUMMY_ENTITY_VAL", "is the one value of its key"),
    ("feast.feature_view_projection.FeatureViewProjection", "says which features of a view a service takes"),
    (
        "feast.infra.compute_engines.local.compute.LocalComputeEngine._materialize_one",
        "is where one view goes from the offline to the online store: ours goes by the column",
    ),
    ("feast.infra.compute_engines.local.job.LocalMaterializationJob", "is what that has to return"),
    ("feast.infra.key_encoding_utils.serialize_entity_key", "is how a key is stored: what Feast wrote stays"),
    ("feast.infra.key_encoding_utils.deserialize_entity_key", "reads it, to find the keys of a subject"),
    (
        "feast.infra.registry.file.FileRegistryStore._write_registry",
        "writes over the registry's file, where who reads meanwhile finds an empty one: ours replaces it",
    ),
    ("feast.infra.online_stores.helpers.compute_table_id", "is the name of a view's table in SQLite"),
    ("feast.infra.online_stores.helpers.compute_versioned_name", "is the name of a view's fields in Redis"),
    ("feast.monitoring.metrics_calculator.MetricsCalculator", "makes the statistics of an offline store"),
    ("feast.monitoring.monitoring_utils.MONITORING_DIR", "is where the tables of statistics are"),
    ("feast.monitoring.monitoring_utils.monitoring_parquet_meta", "is how they are laid out"),
    ("feast.monitoring.monitoring_utils.normalize_monitoring_row", "is how their rows are read"),
    ("feast.protos.feast.types.EntityKey_pb2.EntityKey", "is a key in the interface of online stores"),
    ("feast.protos.feast.types.Value_pb2.Value", "is a value there, whose bytes we write ourselves"),
    ("feast.protos.feast.core.Registry_pb2.Registry", "is what the registry's file holds"),
    ("feast.repo_operations.get_repo_files", "says which files of a feature repository Feast would load"),
    ("feast.torch_wrapper.get_torch", "is where PyTorch is imported, which `tidemill.features` puts off"),
    ("feast.type_map.feast_value_type_to_python_type", "makes of a value what Python has"),
    ("feast.type_map.python_values_to_proto_values", "makes a value of what Python has"),
    ("feast.ui_server.start_server", "is a server of Feast's, which `tidemill.features` puts off"),
    ("feast.utils.compute_non_entity_date_range", "is the span of time of a retrieval without entity rows"),
)
"""Dotted path, and why it is needed."""


def _replace_registry(self: FileRegistryStore, registry: Registry) -> None:
    """Write a registry as Feast does, but whole or not at all."""
    registry.version_id = str(uuid4())
    registry.last_updated.FromDatetime(datetime.now(UTC))
    replace_file(self._filepath, registry.SerializeToString())


FileRegistryStore._write_registry = _replace_registry


def infer_types(store: FeatureStore, definitions: Sequence[Any]) -> None:
    """Set the types that definitions leave out, as applying them does; nothing is written.

    Raises:
        Exception: any of Feast's: a source cannot be read, a transformation fails.
    """
    kinds = (DataSource, Entity, FeatureView, OnDemandFeatureView, FeatureService)
    sources, entities, views, on_demand, services = (
        [thing for thing in definitions if isinstance(thing, kind)] for kind in kinds
    )
    store._make_inferences(sources, entities, views, on_demand, [], services)


class OneViewEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local batch engine, with a public method for one view."""

    def materialise_view(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        """Copy one view from the offline to the online store with Feast's own code."""
        return super()._materialize_one(registry, task, **kwargs)

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        return self.materialise_view(registry, task, **kwargs)


@cache
def check_constructors() -> None:
    """Have Feast's own checks of types look at the arguments of definitions again; see the package's text."""
    for kind in _DEFINED:
        kind.__init__ = typechecked(kind.__init__)

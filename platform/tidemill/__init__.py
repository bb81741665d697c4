"""Tidemill: DVC, Feast, Ray, MLflow and Evidently as one machine that keeps models fresh.

A project's files import everything they need from here, and nothing from deeper::

    from tidemill import Application, Moment

A name is loaded when it is first used: ``import tidemill`` loads no engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tidemill.version import __version__

if TYPE_CHECKING:
    from tidemill.clock import Clock, ReplayClock, SystemClock, parse_duration, utc
    from tidemill.data.expectations.declarations import load_expectations
    from tidemill.data.labels.annotation_checks import LabelRequest
    from tidemill.data.labels.label_import import import_labels
    from tidemill.data.labels.labels_as_of import join_labels
    from tidemill.data.personal.tombstones import without_erased
    from tidemill.data.validation.in_memory import validate_frames
    from tidemill.data.validation.project_validation import raise_for as raise_for_failures
    from tidemill.data.validation.project_validation import write_checked as write_validated
    from tidemill.data.versioning.add import add as add_data
    from tidemill.data.versioning.checkout import checkout as checkout_version
    from tidemill.data.versioning.diff import diff as diff_versions
    from tidemill.data.versioning.show import show as show_version
    from tidemill.data.versioning.version_log import log as list_versions
    from tidemill.errors import (
        AlertNotFound,
        ApprovalNeeded,
        AuditError,
        BeingComputed,
        ClusterError,
        ConfigError,
        DataError,
        DecisionOutdated,
        FeatureError,
        GateRefused,
        JobNotFound,
        LoginRefused,
        ModelNotFound,
        ModelUnsafe,
        MonitoringError,
        NotAllowed,
        NotAnswering,
        NotDelivered,
        NotWritable,
        PortTaken,
        PredictionNotFound,
        ProjectNotFound,
        RecordNotFound,
        RegistryError,
        RetrainingError,
        RunNotFound,
        ServingError,
        SkewFound,
        StackNotRunning,
        StateError,
        TidemillError,
        TooManyFits,
        TooManyLogins,
        TrainingError,
        TurnCancelled,
        TurnInProgress,
        UsageError,
        VersionNotFound,
        WindowNotFound,
        WrongKey,
    )
    from tidemill.features.feature_store import apply as apply_features
    from tidemill.features.feature_store import materialise as materialise_features
    from tidemill.features.feature_store import push as push_features
    from tidemill.features.feature_store import service_features, training_frame
    from tidemill.features.personal_fields import declared_columns as personal_columns
    from tidemill.files.atomic import replacing_files
    from tidemill.prediction_log.prediction_log import read_labelled, read_labels, read_predictions
    from tidemill.project.project import Project, find_project, load_project
    from tidemill.registry.gates.judged_rows import GateFinding, GateRows
    from tidemill.replay.traffic_replay import History
    from tidemill.retraining.by_hand.project_steps import OpenProject
    from tidemill.retraining.by_hand.project_steps import open_project as open
    from tidemill.serving.inference.application import Application
    from tidemill.serving.inference.composition import (
        Composition,
        CompositionRequest,
        Mask,
        Part,
        PartFailed,
        Scores,
    )
    from tidemill.serving.inference.request_moments import Moment
    from tidemill.training.distributed import Distributed, Prepared, Saved, Shard
    from tidemill.training.model_spec import Family, Fit, OnlyIf, TrainingSpec

__all__ = [
    "AlertNotFound",
    "Application",
    "ApprovalNeeded",
    "AuditError",
    "BeingComputed",
    "Clock",
    "ClusterError",
    "Composition",
    "CompositionRequest",
    "ConfigError",
    "DataError",
    "DecisionOutdated",
    "Distributed",
    "Family",
    "FeatureError",
    "Fit",
    "GateFinding",
    "GateRefused",
    "GateRows",
    "History",
    "JobNotFound",
    "LabelRequest",
    "LoginRefused",
    "Mask",
    "ModelNotFound",
    "ModelUnsafe",
    "Moment",
    "MonitoringError",
    "NotAllowed",
    "NotAnswering",
    "NotDelivered",
    "NotWritable",
    "OnlyIf",
    "OpenProject",
    "Part",
    "PartFailed",
    "PortTaken",
    "PredictionNotFound",
    "Prepared",
    "Project",
    "ProjectNotFound",
    "RecordNotFound",
    "RegistryError",
    "ReplayClock",
    "RetrainingError",
    "RunNotFound",
    "Saved",
    "Scores",
    "ServingError",
    "Shard",
    "SkewFound",
    "StackNotRunning",
    "StateError",
    "SystemClock",
    "TidemillError",
    "TooManyFits",
    "TooManyLogins",
    "TrainingError",
    "TrainingSpec",
    "TurnCancelled",
    "TurnInProgress",
    "UsageError",
    "VersionNotFound",
    "WindowNotFound",
    "WrongKey",
    "__version__",
    "add_data",
    "apply_features",
    "checkout_version",
    "diff_versions",
    "find_project",
    "import_labels",
    "join_labels",
    "list_versions",
    "load_expectations",
    "load_project",
    "materialise_features",
    "open",
    "parse_duration",
    "personal_columns",
    "push_features",
    "raise_for_failures",
    "read_labelled",
    "read_labels",
    "read_predictions",
    "replacing_files",
    "service_features",
    "show_version",
    "training_frame",
    "utc",
    "validate_frames",
    "without_erased",
    "write_validated",
]

_PLACES = {
    "Clock": "clock:Clock",
    "ReplayClock": "clock:ReplayClock",
    "SystemClock": "clock:SystemClock",
    "parse_duration": "clock:parse_duration",
    "utc": "clock:utc",
    "load_expectations": "data.expectations.declarations:load_expectations",
    "LabelRequest": "data.labels.annotation_checks:LabelRequest",
    "import_labels": "data.labels.label_import:import_labels",
    "join_labels": "data.labels.labels_as_of:join_labels",
    "without_erased": "data.personal.tombstones:without_erased",
    "validate_frames": "data.validation.in_memory:validate_frames",
    "raise_for_failures": "data.validation.project_validation:raise_for",
    "write_validated": "data.validation.project_validation:write_checked",
    "add_data": "data.versioning.add:add",
    "checkout_version": "data.versioning.checkout:checkout",
    "diff_versions": "data.versioning.diff:diff",
    "show_version": "data.versioning.show:show",
    "list_versions": "data.versioning.version_log:log",
    "AlertNotFound": "errors:AlertNotFound",
    "ApprovalNeeded": "errors:ApprovalNeeded",
    "AuditError": "errors:AuditError",
    "BeingComputed": "errors:BeingComputed",
    "ClusterError": "errors:ClusterError",
    "ConfigError": "errors:ConfigError",
    "DataError": "errors:DataError",
    "DecisionOutdated": "errors:DecisionOutdated",
    "FeatureError": "errors:FeatureError",
    "GateRefused": "errors:GateRefused",
    "JobNotFound": "errors:JobNotFound",
    "ModelNotFound": "errors:ModelNotFound",
    "ModelUnsafe": "errors:ModelUnsafe",
    "MonitoringError": "errors:MonitoringError",
    "PortTaken": "errors:PortTaken",
    "ProjectNotFound": "errors:ProjectNotFound",
    "RecordNotFound": "errors:RecordNotFound",
    "RegistryError": "errors:RegistryError",
    "RetrainingError": "errors:RetrainingError",
    "ServingError": "errors:ServingError",
    "SkewFound": "errors:SkewFound",
    "StackNotRunning": "errors:StackNotRunning",
    "LoginRefused": "errors:LoginRefused",
    "NotAllowed": "errors:NotAllowed",
    "NotAnswering": "errors:NotAnswering",
    "TooManyFits": "errors:TooManyFits",
    "TooManyLogins": "errors:TooManyLogins",
    "NotDelivered": "errors:NotDelivered",
    "PredictionNotFound": "errors:PredictionNotFound",
    "RunNotFound": "errors:RunNotFound",
    "NotWritable": "errors:NotWritable",
    "StateError": "errors:StateError",
    "TidemillError": "errors:TidemillError",
    "TrainingError": "errors:TrainingError",
    "TurnCancelled": "errors:TurnCancelled",
    "TurnInProgress": "errors:TurnInProgress",
    "UsageError": "errors:UsageError",
    "VersionNotFound": "errors:VersionNotFound",
    "WindowNotFound": "errors:WindowNotFound",
    "WrongKey": "errors:WrongKey",
    "apply_features": "features.feature_store:apply",
    "materialise_features": "features.feature_store:materialise",
    "push_features": "features.feature_store:push",
    "service_features": "features.feature_store:service_features",
    "training_frame": "features.feature_store:training_frame",
    "personal_columns": "features.personal_fields:declared_columns",
    "read_labelled": "prediction_log.prediction_log:read_labelled",
    "read_labels": "prediction_log.prediction_log:read_labels",
    "read_predictions": "prediction_log.prediction_log:read_predictions",
    "Project": "project.project:Project",
    "find_project": "project.project:find_project",
    "load_project": "project.project:load_project",
    "GateFinding": "registry.gates.judged_rows:GateFinding",
    "GateRows": "registry.gates.judged_rows:GateRows",
    "History": "replay.traffic_replay:History",
    "OpenProject": "retraining.by_hand.project_steps:OpenProject",
    "open": "retraining.by_hand.project_steps:open_project",
    "Application": "serving.inference.application:Application",
    "CompositionRequest": "serving.inference.composition:CompositionRequest",
    "Composition": "serving.inference.composition:Composition",
    "Mask": "serving.inference.composition:Mask",
    "Part": "serving.inference.composition:Part",
    "PartFailed": "serving.inference.composition:PartFailed",
    "Scores": "serving.inference.composition:Scores",
    "Moment": "serving.inference.request_moments:Moment",
    "Distributed": "training.distributed:Distributed",
    "Prepared": "training.distributed:Prepared",
    "Saved": "training.distributed:Saved",
    "Shard": "training.distributed:Shard",
    "Family": "training.model_spec:Family",
    "OnlyIf": "training.model_spec:OnlyIf",
    "Fit": "training.model_spec:Fit",
    "TrainingSpec": "training.model_spec:TrainingSpec",
    "replacing_files": "files.atomic:replacing_files",
}
"""Where each name is defined: a module below this one, and what it is called there."""


def __getattr__(name: str) -> Any:
    """Load a name at its first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Every error that Tidemill raises on purpose.

The tree::

    TidemillError
    ├── UsageError               a wrong option, name or declaration                       (exit code 2)
    │   ├── ProjectNotFound      no params.yaml with a project section here or above
    │   ├── RecordNotFound       no such turn, rollout, decision or act
    │   └── ConfigError          a declaration of the project is wrong
    ├── NotAllowed               who asks may not do this
    │   └── LoginRefused         the name or the password is wrong
    │       └── TooManyLogins    too many logins failed: the next one must wait
    ├── NotWritable              a file that must be changed may only be read
    ├── StateError               the platform's own records are locked, away or damaged
    ├── NotAnswering             a store that was to be read is away, or takes too long
    │   └── BeingComputed        what was asked for takes seconds: it is being computed
    ├── AuditError               the audit log was changed, cut off, or is not what was expected
    ├── DataError                data is missing, broken or not what was declared
    │   └── VersionNotFound      no such data version
    ├── FeatureError             the feature store refused or lacks something
    │   ├── SkewFound            what was served is not what training would see
    │   └── WrongKey             a value that is no key of the feature store
    ├── TrainingError            no usable model came out of training
    │   └── RunNotFound          no such run
    ├── RegistryError            the model registry refused or lacks something
    │   ├── ModelNotFound        no such model, version or alias
    │   ├── ModelUnsafe          loading the model could run code or read files that it brings along
    │   ├── DecisionOutdated     a gate's decision is about another pair of versions
    │   └── GateRefused          a gate said no                                           (exit code 3)
    │       └── ApprovalNeeded   a second person must approve it first
    ├── ServingError             the serving stack is not in the state that was needed
    │   ├── JobNotFound          no such slow prediction
    │   ├── PredictionNotFound   no such prediction in the log
    │   ├── PortTaken            an address that was asked for is in use
    │   └── StackNotRunning      nothing is running here
    ├── MonitoringError          a monitor could not be evaluated
    │   ├── AlertNotFound        no such alert
    │   ├── WindowNotFound       no such monitor run, or nothing on record of a feature
    │   └── NotDelivered         a message about an alert was not taken
    ├── RetrainingError          a turn of the loop could not be made
    │   ├── TooManyFits          a backtest would take more fits than are allowed
    │   ├── TurnInProgress       another turn holds the lock
    │   └── TurnCancelled        a person has ended it
    └── ClusterError             the cluster, or a program for it, refused or lacks something

Every message says what is wrong and where; ``hint`` says what to do next. Exit codes and HTTP
statuses are decided by the faces (``cli``, the HTTP API), not here.
"""

__all__ = [
    "AlertNotFound",
    "ApprovalNeeded",
    "AuditError",
    "BeingComputed",
    "ClusterError",
    "ConfigError",
    "DataError",
    "DecisionOutdated",
    "FeatureError",
    "GateRefused",
    "JobNotFound",
    "LoginRefused",
    "ModelNotFound",
    "ModelUnsafe",
    "MonitoringError",
    "NotAllowed",
    "NotAnswering",
    "NotDelivered",
    "NotWritable",
    "PortTaken",
    "PredictionNotFound",
    "ProjectNotFound",
    "RecordNotFound",
    "RegistryError",
    "RetrainingError",
    "RunNotFound",
    "ServingError",
    "SkewFound",
    "StackNotRunning",
    "StateError",
    "TidemillError",
    "TooManyFits",
    "TooManyLogins",
    "TrainingError",
    "TurnCancelled",
    "TurnInProgress",
    "UsageError",
    "VersionNotFound",
    "WindowNotFound",
    "WrongKey",
]


class TidemillError(Exception):
    """Base of all errors raised on purpose.

    >>> error = TidemillError("no such file: flights.csv", hint="run `dvc repro` first")
    >>> str(error)
    'no such file: flights.csv'
    >>> error.hint
    'run `dvc repro` first'
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(TidemillError):
    """An option, a name or a declaration is wrong."""


class ProjectNotFound(UsageError):
    """No project in this folder or above it."""


class RecordNotFound(UsageError):
    """There is no turn, rollout, decision or act with this id, or it is another model's."""


class ConfigError(UsageError):
    """A declaration of the project is missing or wrong."""


class NotAllowed(TidemillError):
    """Who asks may not do this."""


class LoginRefused(NotAllowed):
    """The name or the password is wrong, or the user is kept out."""


class TooManyLogins(LoginRefused):
    """Too many logins failed with this name or from this address: the next one must wait."""


class NotWritable(TidemillError):
    """A file that must be changed, or a lock that must be taken, is where nothing can be written."""


class StateError(TidemillError):
    """The platform's own records are locked, away, full or damaged."""


class NotAnswering(TidemillError):
    """A store that was to be read is away, or takes too long."""


class BeingComputed(NotAnswering):
    """What was asked for takes seconds: it is being computed, and can be asked for again."""

    def __init__(self, message: str, *, hint: str | None = None, ticket: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ticket = ticket
        """Names the computation where its end is told."""


class AuditError(TidemillError):
    """The audit log was changed, cut off, or is not what was expected."""


class DataError(TidemillError):
    """Data is missing, broken or not what was declared."""


class VersionNotFound(DataError):
    """There is no such data version."""


class FeatureError(TidemillError):
    """The feature store refused, or lacks something."""


class WrongKey(FeatureError):
    """A value that is no key of the feature store: another type, or a number too large for it."""


class SkewFound(FeatureError):
    """Features were served with other values than a training set has, past the threshold."""


class TrainingError(TidemillError):
    """Training brought out no usable model."""


class RunNotFound(TrainingError):
    """There is no such run."""


class RegistryError(TidemillError):
    """The model registry refused, or lacks something."""


class ModelNotFound(RegistryError):
    """There is no such model, version or alias."""


class ModelUnsafe(RegistryError):
    """Loading the model could run code, or read files, that it brings along."""


class DecisionOutdated(RegistryError):
    """A gate's decision compares other versions than those that are to be exchanged now."""


class GateRefused(RegistryError):
    """A gate compared the candidate and said no."""


class ApprovalNeeded(GateRefused):
    """A second person must approve it first; the request is on record."""

    approval: str | None = None
    """Id of the request, where it is known."""


class ServingError(TidemillError):
    """The serving stack is not in the state that was needed."""


class PredictionNotFound(ServingError):
    """The prediction log does not hold such a prediction."""


class JobNotFound(ServingError):
    """There is no slow prediction with this id, or it has expired."""


class PortTaken(ServingError):
    """An address that was asked for is in use by another program."""


class StackNotRunning(ServingError):
    """No stack is running for this project."""


class MonitoringError(TidemillError):
    """A monitor could not be evaluated."""


class AlertNotFound(MonitoringError):
    """There is no such alert."""


class WindowNotFound(MonitoringError):
    """There is no such monitor run, or nothing is on record of a feature."""


class NotDelivered(MonitoringError):
    """A message about an alert was not taken by its receiver."""


class RetrainingError(TidemillError):
    """A turn of the loop could not be made."""


class TooManyFits(RetrainingError):
    """A backtest would take more fits than are allowed."""


class TurnInProgress(RetrainingError):
    """Another process is making a turn for this project right now."""


class TurnCancelled(RetrainingError):
    """A person has ended the turn that was being made."""


class ClusterError(TidemillError):
    """The cluster, or a program that is needed for it, refused or lacks something."""

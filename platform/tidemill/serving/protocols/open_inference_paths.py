"""Find the models and versions in paths of the Open Inference Protocol, and whether they answer now."""

import re
from collections.abc import Callable

from tidemill.features.request_features import REQUEST
from tidemill.serving.inference.calls import Codec
from tidemill.serving.protocols.given_features import Features
from tidemill.serving.protocols.open_inference import OpenInference
from tidemill.serving.routing.traffic_split import ServingVersions

__all__ = ["Now", "features_of", "infer_paths", "no_model", "no_version", "versions_of"]

Now = Callable[[], ServingVersions | None]
"""Returns the versions of this moment; None while there are none."""

_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")


def versions_of(serving: ServingVersions | None) -> tuple[str, ...]:
    """Return the versions that answer: the champion, canaries and experiments, but no shadow."""
    if serving is None:
        return ()
    others = (model.version for lane, model in serving.lanes if lane.kind in ("canary", "ab"))
    return tuple(dict.fromkeys((serving.champion.version, *others)))


def features_of(serving: ServingVersions | None) -> Features | None:
    """Return what may be given instead of fields; None while no model answers."""
    if serving is None:
        return None
    champion = serving.champion
    service = tuple(name for _, name in champion.features.features)
    scorer, reader = champion.scorer, champion.features
    requested = all(view == REQUEST for view, _ in reader.features)
    given = service, tuple(scorer.features), scorer.words, scorer.lists, reader.truths
    return Features(*given, requested, reader.gaps)


def infer_paths(codec: OpenInference, now: Now) -> Callable[[str, str], Codec | None]:
    """Return what knows the codec of an inference path with a version in it, and of strange ones."""

    def codec_of(method: str, path: str) -> Codec | None:
        found = _INFER.fullmatch(path) if method == "POST" else None
        if found is None:
            return None
        model, version = found.groups()
        if model != codec.inputs.model:
            return codec.of_nothing(no_model(codec.inputs.model))
        if version is None:
            return codec
        serving = now()
        if serving is not None and version not in versions_of(serving):
            return codec.of_nothing(no_version(codec.inputs.model, serving))
        return codec.of_version(version)

    return codec_of


def no_model(model: str) -> str:
    """Return what is wrong with another model's name than ``model``."""
    return f"there is no such model here; there is {model}"


def no_version(model: str, serving: ServingVersions | None) -> str:
    """Return what is wrong with a version that does not answer now."""
    return f"that version of {model} does not answer now; {', '.join(versions_of(serving))} does"

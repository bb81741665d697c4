"""Says what is played: policies, and which gate and proof decide on their candidates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, TypeAlias

from pydantic import ValidationError

from tidemill.errors import ConfigError
from tidemill.project import Project
from tidemill.project.serve_config import ProofConfig
from tidemill.retraining.policies import Policy

__all__ = ["Gate", "PromotionRule", "Proof", "Strategy", "rules_of", "strategies_of"]

Gate: TypeAlias = Literal["gain", "interval"]
"""A value of ``gate.by`` in params.yaml."""
Proof: TypeAlias = Literal["none", "gain", "interval", "lasting"]
"""``none``, or a value of ``serve.rollout.proof.by``."""


@dataclass(frozen=True)
class PromotionRule:
    """Which gate and proof decide on candidates, in place of those that params.yaml declares."""

    gate: Gate | None = None
    """None: as declared."""
    proof: Proof | None = None
    """None: as declared."""

    @property
    def name(self) -> str:
        """Its name behind that of a policy; empty where all is as declared.

        >>> PromotionRule("interval", "none").name, PromotionRule(proof="lasting").name
        ('gate interval, no proof', 'proof lasting')
        """
        proof = "no proof" if self.proof == "none" else self.proof and f"proof {self.proof}"
        return ", ".join(filter(None, (self.gate and f"gate {self.gate}", proof)))

    def applied(self, project: Project) -> Project:
        """Return a project with this gate and proof; days, least gain and least labels stay as declared.

        Raises:
            ConfigError: the declared days are too few for the proof.
        """
        config = project.config
        if self.gate is not None:
            config = config.model_copy(update={"gate": config.gate.model_copy(update={"by": self.gate})})
        if self.proof is not None:
            rollout = config.serve.rollout.model_copy(update={"proof": self._proof_of(project)})
            config = config.model_copy(update={"serve": config.serve.model_copy(update={"rollout": rollout})})
        return replace(project, config=config)

    def _proof_of(self, project: Project) -> ProofConfig | None:
        if self.proof == "none":
            return None
        declared = project.config.serve.rollout.proof or ProofConfig()
        try:
            return ProofConfig.model_validate({**declared.model_dump(), "by": self.proof})
        except ValidationError as error:
            said = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ConfigError(
                f"the proof {self.proof} cannot be played: {said}",
                hint="change serve.rollout.proof in params.yaml, or play another proof",
            ) from error


@dataclass(frozen=True)
class Strategy:
    """Policies, and what decides on their candidates."""

    policies: tuple[Policy, ...]
    rule: PromotionRule = PromotionRule()


def rules_of(gates: Sequence[Gate], proofs: Sequence[Proof]) -> tuple[PromotionRule, ...]:
    """Return each gate with each proof; without any the declared one.

    >>> [rule.name for rule in rules_of(["gain"], ["none", "lasting", "none"])]
    ['gate gain, no proof', 'gate gain, proof lasting']
    >>> rules_of([], [])
    (PromotionRule(gate=None, proof=None),)
    """
    pairs = product(dict.fromkeys(gates) or (None,), dict.fromkeys(proofs) or (None,))
    return tuple(PromotionRule(gate, proof) for gate, proof in pairs)


def strategies_of(
    policies: Sequence[Policy], rules: Sequence[PromotionRule], together: bool
) -> dict[str, Strategy]:
    """Return each policy with each rule by name, and if there are several, perhaps all of them together."""
    groups: dict[str, tuple[Policy, ...]] = {policy.name: (policy,) for policy in policies}
    if together and len(policies) > 1:
        groups["all policies"] = tuple(policies)
    return {
        ", ".join(filter(None, (name, rule.name))): Strategy(group, rule)
        for name, group in groups.items()
        for rule in rules
    }

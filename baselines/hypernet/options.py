"""The choices that make a hypernetwork, checked without torch when a grid is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.errors import RequestError
from bench.validation import Fraction, Noise, Positive, Rate, Strict

Count = Annotated[int, Field(ge=0)]
Conditioning = Literal["learned", "orthogonal", "one-hot", "features"]


class HypernetOptions(Strict):
    """Options of :class:`baselines.hypernet.scheme.Hypernet`."""

    conditioning: Conditioning = "learned"
    """What is known of an agent: an embedding of its ID that is learned, from normal or from
    orthogonal rows; its ID; or the features that the task gives of its role."""
    embedding: Positive = 8
    """Width E of a learned embedding."""
    hidden: Count = 64
    """Width C of the code; 0 feeds e_i straight to the generator, so that with one-hot IDs every
    agent has weights of its own, linearly."""

    branches: Literal["one", "modules"] = "one"
    """One hypernetwork, or one for the trunk and one for the head, each with its own code."""
    frozen: Literal["trunk", "head"] | None = None
    """A branch that stays as it was drawn."""
    generator: Literal["dense", "chunked", "grouped", "low-rank", "core", "sparse"] = "dense"
    """How weights come from the code."""
    chunk: Positive = 64
    """Weights in a chunk."""
    groups: Positive = 2
    """Groups of agents, each with a generator."""
    rank: Positive = 4
    """Rank of what is generated; cut to the smaller side of a layer."""
    block: Positive = 4
    """Rows in a block, at most: the largest divisor of the layer's rows up to it is taken."""
    live: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the blocks of rows that an agent has generated for it."""

    target: Literal["head", "all", "bias"] = "head"
    """What is generated: the last layer on a stored shared trunk (the hybrid), every layer, or
    only an offset on the last bias of a stored shared network."""
    alpha: Rate = 1.0
    """Factor of what is generated, where it is added to a shared base."""

    initialisation: Literal["balanced", "hyperfan-in", "naive"] = "balanced"
    """At what scale generated weights start."""
    rho: Fraction = 0.5
    """Share of the initial variance that comes from the generator; the rest comes from a shared
    base, which there is none of at 1."""

    pace: Literal["generator", "weights"] = "generator"
    """What a step of Adam moves by about the learning rate: every number of the `generator`, and so
    a weight that is linear in the code, as a dense generator's, by some C / sqrt(pi) times as much;
    or the generated `weights`, as if they were stored."""

    bound: Literal["spectral", "smooth"] | None = None
    """How the largest singular value of every generated matrix is kept at `largest` or below."""
    largest: Rate = 3.0
    """The largest singular value allowed."""
    decay: Noise = 0.0
    """Decoupled weight decay of the hypernetwork."""
    l1: Noise = 0.0
    """Proximal L1 penalty of the hypernetwork."""
    clip: Rate | None = None
    """Largest norm of the gradient by one agent's weights of one generated layer.  The run's
    `grad_clip` comes after it and, where it binds, shortens the step of all agents alike."""
    warmup: Count = 0
    """Updates over which the factor of what is generated rises from 0 to `alpha`."""
    residual_after: Positive | None = None
    """Updates after which every agent's own residual is trained besides the hypernetwork."""
    gradient: Literal["through", "blocked"] = "through"
    """`blocked` loads generated weights without their graph, so that the hypernetwork never
    learns: a negative control."""

    replay: Count = 0
    """Entries of the replay of weights; 0 for none."""
    replay_every: Positive = 100
    """Updates between two entries."""
    replay_loss: Rate = 1e-2
    """Factor of the loss that holds the hypernetwork to its entries."""
    replay_by: Literal["uniform", "score"] = "uniform"
    """Whether all entries weigh the same in it, or those more whose newest training episodes had
    better returns."""

    @model_validator(mode="after")
    def _sensible(self) -> HypernetOptions:
        for name, (choice, values) in BELONGS.items():
            if name in self.model_fields_set and getattr(self, choice) not in values:
                known = " or ".join(values)
                raise ValueError(f"{name} does nothing here; choose {choice}: {known}")
        if self.branches == "modules" and self.target != "all":
            raise ValueError("branches: modules has no trunk to generate; choose target: all")
        if self.target == "bias" and self.generator != "dense":
            raise ValueError("target: bias generates no matrix; choose generator: dense")
        if self.target == "bias" and (self.bound or self.clip or self.residual_after):
            raise ValueError("target: bias generates no matrix to stabilise; choose target: head")
        if self.target == "bias" and (self.warmup or self.initialisation != "balanced"):
            raise ValueError("target: bias starts at zero as it is; choose target: head")
        if self.warmup and self.initialisation == "balanced" and self.rho == 0:
            raise ValueError("with rho = 0 there is nothing to warm up; choose rho above 0")
        if (self.warmup or self.alpha != 1) and not self.has_base and self.target != "bias":
            raise ValueError("alpha and warmup need a shared base; choose rho below 1")
        if self.pace == "weights" and not self.hidden:
            raise ValueError("pace does nothing to a code that is e itself; choose hidden above 0")
        if self.pace == "weights" and self.initialisation == "naive":
            raise ValueError("a naive start shrinks with the pace; choose initialisation: balanced")
        if self.replay and (self.target != "all" or self.branches != "one"):
            raise ValueError("replay stores whole networks; choose target: all and branches: one")
        for name in ("replay_every", "replay_loss", "replay_by"):
            if name in self.model_fields_set and not self.replay:
                raise ValueError(f"{name} does nothing here; choose replay above 0")
        return self

    def check_world(self, agents: int, moves: int) -> None:
        """Refuse worlds with too few agents.

        Raises:
            RequestError: saying how many groups there may be.
        """
        if self.generator == "grouped" and self.groups > agents:
            raise RequestError(
                f"groups = {self.groups} with {agents} agents leaves groups empty; "
                f"choose groups: {agents} or fewer"
            )

    @property
    def has_base(self) -> bool:
        """Whether generated matrices are added to one that all agents share."""
        if self.initialisation == "balanced":
            return self.rho < 1
        return self.initialisation == "naive"


BELONGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "embedding": ("conditioning", ("learned", "orthogonal")),
    "frozen": ("branches", ("modules",)),
    "chunk": ("generator", ("chunked",)),
    "groups": ("generator", ("grouped",)),
    "rank": ("generator", ("low-rank", "core")),
    "block": ("generator", ("sparse",)),
    "live": ("generator", ("sparse",)),
    "pace": ("generator", ("dense", "grouped", "low-rank", "core", "sparse")),
    "rho": ("initialisation", ("balanced",)),
    "largest": ("bound", ("spectral", "smooth")),
}
"""Options that say more about a choice: the choice, and where they do anything."""

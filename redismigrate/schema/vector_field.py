"""The vector field of an index: one frozen model for all algorithms, which knows what belongs to which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pydantic
from pydantic import BeforeValidator, model_validator

from redismigrate.schema.fields import FieldBase, upper

if TYPE_CHECKING:
    from collections.abc import Mapping

Algorithm = Literal["FLAT", "HNSW", "SVS-VAMANA"]
Datatype = Literal["BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", "INT8", "UINT8"]
DistanceMetric = Literal["COSINE", "IP", "L2"]
Compression = Literal["LVQ4", "LVQ4x4", "LVQ4x8", "LVQ8", "LeanVec4x8", "LeanVec8x8"]

COMPRESSIONS = {name.upper(): name for name in Compression.__args__}  # type: ignore[attr-defined]
SVS_DATATYPES = ("FLOAT16", "FLOAT32")
# Vectors per block of memory; SVS-VAMANA wants at least one block to train a compression.
DEFAULT_BLOCK_SIZE = 1024
DEFAULT_EPSILON = 0.01

# RedisVL's own defaults, which it always sends; the server's differ. See `svs_parameters`.
SVS_DEFAULTS: Mapping[str, int | float] = {
    "graph_max_degree": 40,
    "construction_window_size": 250,
    "search_window_size": 20,
    "epsilon": 0.01,
}

# The parameters that not every algorithm has.
ALGORITHMS_OF: Mapping[str, tuple[Algorithm, ...]] = {
    "initial_cap": ("FLAT", "HNSW"),
    "block_size": ("FLAT",),
    "m": ("HNSW",),
    "ef_construction": ("HNSW",),
    "ef_runtime": ("HNSW",),
    "epsilon": ("HNSW", "SVS-VAMANA"),
    "graph_max_degree": ("SVS-VAMANA",),
    "construction_window_size": ("SVS-VAMANA",),
    "search_window_size": ("SVS-VAMANA",),
    "compression": ("SVS-VAMANA",),
    "reduce": ("SVS-VAMANA",),
    "training_threshold": ("SVS-VAMANA",),
}


def _compression(value: object) -> object:
    return COMPRESSIONS.get(value.upper(), value) if isinstance(value, str) else value


class VectorField(FieldBase):
    """Vectors, of any algorithm; parameters of another algorithm are refused.

    None for a parameter leaves it to the server, whose defaults `redismigrate.schema.compare` knows.

    Attributes:
        algorithm: `FLAT` (exact), `HNSW` (a graph) or `SVS-VAMANA` (a compressed graph; from 8.2 on).
        dims: Dimensions.
        datatype: Of one component.
        distance_metric: `COSINE`, `IP` or `L2`.
        initial_cap: FLAT, HNSW: vectors to reserve memory for.
        block_size: FLAT: vectors per block of memory; ignored by servers from 8.2 on.
        m: HNSW: edges per node; the server aborts below 2 and above 32767.
        ef_construction: HNSW: candidates while building.
        ef_runtime: HNSW: candidates while searching.
        epsilon: HNSW, SVS-VAMANA: how far a range query looks beyond its radius, as a share of it.
        graph_max_degree: SVS-VAMANA: edges per node.
        construction_window_size: SVS-VAMANA: candidates while building.
        search_window_size: SVS-VAMANA: candidates while searching.
        compression: SVS-VAMANA: None keeps whole vectors.
        reduce: SVS-VAMANA with a LeanVec compression: dimensions to reduce to.
        training_threshold: SVS-VAMANA with compression: vectors to collect before it is trained.
    """

    type: Literal["vector"] = "vector"
    algorithm: Annotated[Algorithm, BeforeValidator(upper)]
    dims: int = pydantic.Field(ge=1)
    datatype: Annotated[Datatype, BeforeValidator(upper)] = "FLOAT32"
    distance_metric: Annotated[DistanceMetric, BeforeValidator(upper)] = "COSINE"
    initial_cap: int | None = pydantic.Field(default=None, ge=0)
    block_size: int | None = pydantic.Field(default=None, ge=1)
    # VectorSimilarity throws outside of these bounds while FT.CREATE runs, and the server process aborts.
    m: int | None = pydantic.Field(default=None, ge=2, le=32767)
    ef_construction: int | None = pydantic.Field(default=None, ge=1)
    ef_runtime: int | None = pydantic.Field(default=None, ge=1)
    epsilon: float | None = pydantic.Field(default=None, ge=0)
    graph_max_degree: int | None = pydantic.Field(default=None, ge=1)
    construction_window_size: int | None = pydantic.Field(default=None, ge=1)
    search_window_size: int | None = pydantic.Field(default=None, ge=1)
    compression: Annotated[Compression, BeforeValidator(_compression)] | None = None
    reduce: int | None = pydantic.Field(default=None, ge=1)
    training_threshold: int | None = pydantic.Field(default=None, ge=DEFAULT_BLOCK_SIZE)

    @classmethod
    def inapplicable(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Attributes that mean nothing beside these values, with what they lack."""
        algorithm, compression = upper(values["algorithm"]), values.get("compression")
        reasons = {
            attribute: f"belongs to {' and '.join(algorithms)}, not to {algorithm}"
            for attribute, algorithms in ALGORITHMS_OF.items()
            if algorithm not in algorithms
        }
        if algorithm == "SVS-VAMANA":
            if compression is None:
                reasons["training_threshold"] = "needs a compression"
            if not str(compression).upper().startswith("LEANVEC"):
                reasons["reduce"] = "needs a LeanVec compression"
        return reasons

    @model_validator(mode="after")
    def _fits_the_algorithm(self) -> Self:
        if self.algorithm == "SVS-VAMANA" and self.datatype not in SVS_DATATYPES:
            raise ValueError(f"SVS-VAMANA takes {' and '.join(SVS_DATATYPES)} only, not {self.datatype}")
        if self.reduce is not None and self.reduce >= self.dims:
            raise ValueError(f"reduce ({self.reduce}) should be less than dims ({self.dims})")
        return self


def becomes_svs(field: FieldBase, attributes: Mapping[str, Any]) -> bool:
    """Whether a field that is no SVS-VAMANA is to be one."""
    wanted = upper(attributes.get("algorithm"))
    return wanted == "SVS-VAMANA" and getattr(field, "algorithm", wanted) != wanted


def svs_parameters(field: FieldBase, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a field that becomes SVS-VAMANA gets in addition: what `create_index` gives one.

    So both ways lead to one index. None among the attributes leaves a parameter to the server.

    Args:
        field: As it is.
        attributes: That are asked for.
    """
    if not becomes_svs(field, attributes):
        return {}
    return {
        name: value
        for name, value in SVS_DEFAULTS.items()
        if name not in attributes and getattr(field, name) is None
    }

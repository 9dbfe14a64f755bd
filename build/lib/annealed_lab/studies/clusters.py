"""A cluster, as a file of clusters/ describes it: what its Slurm wants to know of a job."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from annealed_lm.config.sections import Section
from annealed_lm.config.types import PositiveInt, contradiction


class Cluster(Section):
    """What a cluster wants to know of a job, one point each; what is None is not said to it.

    Attributes:
        minutes: the time limit of a job. Trainings that take longer go on in the same job, queued again.
        max_parallel: so many jobs at a time.
        max_requeues: so often a job may meet its time limit.
        seconds_to_save: before the time limit, a job begins to save what it has.
        options: further ones of sbatch, such as --constraint=a100.
        setup: lines of shell before the work begins, such as module load.
    """

    partition: str | None
    account: str | None
    qos: str | None
    minutes: PositiveInt
    cpus: PositiveInt
    gpus: PositiveInt | None
    memory_gb: PositiveInt | None
    max_parallel: PositiveInt
    max_requeues: Annotated[int, Field(ge=0)]
    seconds_to_save: PositiveInt
    options: list[Annotated[str, Field(pattern="^--[a-z-]+(=.+)?$")]]
    setup: list[str]

    @model_validator(mode="after")
    def has_time(self) -> Self:
        if self.seconds_to_save >= 60 * self.minutes:
            raise contradiction(f"seconds_to_save = {self.seconds_to_save} leaves nothing of minutes = {self.minutes}")
        return self

"""The numbers in params.yaml: between which bounds each kind of them lies.

Upper bounds lie far beyond what is trained anywhere, and below what no machine carries out: a number with a slip in it, such as
1e26 steps, is refused before any work and not by the stage that it breaks. What two parameters must be to each other stands in
`pairs`.
"""

from typing import Annotated

from pydantic import Field

TrainingSteps = Annotated[int, Field(gt=0, le=100_000_000)]
WarmUpSteps = Annotated[int, Field(ge=0, le=100_000_000)]
EverySteps = Annotated[int, Field(gt=0, le=1_000_000_000)]
"""Steps between two records; more than the training has means that only its end is recorded."""
Timesteps = Annotated[int, Field(gt=0, le=10_000)]
"""An array of so many numbers is made at every training step."""
SamplingSteps = Annotated[int, Field(gt=0, le=1_000_000)]

CorpusTexts = Annotated[int, Field(gt=0, le=1_000_000_000)]
BatchTexts = Annotated[int, Field(gt=0, le=1_000_000)]
SampledTexts = Annotated[int, Field(ge=20, le=100_000)]
"""MAUVE clusters a tenth as many buckets, and in fewer than two all sets are alike."""
MaxWords = Annotated[int, Field(gt=0, le=1_000_000)]
MaxTokens = Annotated[int, Field(ge=4, le=4096)]
"""Decoding takes one evaluation of the decoder a token, attention a number for every two of them."""
SomeTokens = Annotated[int, Field(ge=0, le=4096)]
VocabularySize = Annotated[int, Field(ge=16, le=1_000_000)]
Processes = Annotated[int, Field(gt=0, le=100_000)]

Width = Annotated[int, Field(gt=0, le=16_384)]
EvenWidth = Annotated[int, Field(gt=0, le=16_384, multiple_of=2)]
"""The embedding of t is half sines, half cosines."""
LatentWidth = Annotated[int, Field(ge=2, le=16_384)]
"""A latent vector has mean 0: of width 1 it would be 0 whatever the text."""
Vectors = Annotated[int, Field(gt=0, le=4096)]
Layers = Annotated[int, Field(gt=0, le=512)]
NoneOrMoreLayers = Annotated[int, Field(ge=0, le=512)]

LearningRate = Annotated[float, Field(gt=0, le=1e30, allow_inf_nan=False)]
"""What single precision holds: a training that diverges says so itself, and where."""
WeightDecay = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
GradientNorm = Annotated[float, Field(gt=0.0001, le=1e9, allow_inf_nan=False)]
Power = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
OpenShare = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
SomeShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
DropoutShare = Annotated[float, Field(ge=0, le=0.99, allow_inf_nan=False)]
"""What is kept is divided by its share."""
NucleusMass = Annotated[float, Field(gt=0.0001, le=1, allow_inf_nan=False)]
"""In single precision a smaller mass may be that of no token at all."""
SpeedWeight = Annotated[float, Field(ge=0.5, le=1, allow_inf_nan=False)]

Location = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
"""A log-odds or log-SNR: no noise schedule reaches so far."""
Scale = Annotated[float, Field(gt=0.001, le=1000, allow_inf_nan=False)]
"""The width of a distribution of log-odds or log-SNR."""
TanD = Annotated[float, Field(gt=0.001, le=1000, allow_inf_nan=False)]
"""Below, the first timesteps have no noise, above, most of them no signal that double precision could tell from 0."""
Ratio = Annotated[float, Field(gt=0.0001, le=1e6, allow_inf_nan=False)]
RatioOrZero = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Exponent = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Guidance = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
MauveScaling = Annotated[float, Field(gt=0.001, le=1000, allow_inf_nan=False)]
Penalty = Annotated[float, Field(gt=0.001, le=100, allow_inf_nan=False)]
"""Scores are multiplied or divided by it for every token."""

Beams = Annotated[int, Field(gt=0, le=100)]
Clusterings = Annotated[int, Field(gt=0, le=1000)]
Resamplings = Annotated[int, Field(ge=100, le=20_000)]

"""The autoencoder: a BART with a bottleneck between its encoder and its decoder; the bottleneck's vectors are the latents.

Two layouts. `compressed`: learned queries read the encoder's states and leave num_latents vectors of latent_dim a text, as in
LD4LG's second version (arXiv 2212.09462v3, section 3.1). `per_token`: one vector a token, as in its first version.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from annealed_lm.autoencoder.noising import LatentNoising, LevelEmbedding, NoiseAdapter
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, read_json, write_json

DESCRIPTION = "autoencoder.json"
READER_WEIGHTS = "reader.safetensors"


@dataclass(frozen=True)
class LatentSettings:
    """What the latents look like.

    Attributes:
        latent_layout: "compressed" or "per_token".
        num_latents: vectors a text, K (compressed).
        latent_dim: width of a vector, Z.
        max_tokens: longer texts are truncated.
        resampler_layers: blocks in which the queries read the encoder's states (compressed).
        reconstruction_layers: self-attention blocks between the latents and the decoder.
        latent_noise: the highest noise level that the decoder learns to read.
        adapter_layers: self-attention blocks that learn it for a frozen decoder of frozen states; 0: nothing does.
        frozen_states: the latents are the encoder's own states, with nothing learned between (per_token, pretrained).
    """

    latent_layout: str
    num_latents: int
    latent_dim: int
    max_tokens: int
    resampler_layers: int
    reconstruction_layers: int
    latent_noise: float
    adapter_layers: int
    frozen_states: bool

    @property
    def max_length(self) -> int:
        """The most vectors that a text can have."""
        return self.length(self.max_tokens)

    def length(self, tokens: int) -> int:
        """Return how many vectors a text of so many tokens has."""
        return self.num_latents if self.latent_layout == "compressed" else tokens


class Bottleneck(nn.Module):
    """The layers between encoder and decoder, which make latents and read them.

    Encoder states [batch, tokens, d_model] become latents [batch, vectors, latent_dim], and these the memory of the decoder.
    Every latent vector has mean 0 and norm sqrt(latent_dim), so that noise of a given level means the same everywhere.
    """

    def __init__(self, settings: LatentSettings, d_model: int, heads: int) -> None:
        super().__init__()
        self.settings = settings
        self.compressed = settings.latent_layout == "compressed"
        options: dict[str, Any] = {"nhead": heads, "dim_feedforward": 4 * d_model, "dropout": 0.0, "activation": F.gelu}
        if self.compressed:
            self.queries = nn.Parameter(torch.randn(settings.num_latents, d_model) * d_model**-0.5)
            self.resampler = nn.ModuleList(
                nn.TransformerDecoderLayer(d_model, **options, batch_first=True, norm_first=True)
                for _ in range(settings.resampler_layers)
            )
        self.to_latent = nn.Linear(d_model, settings.latent_dim)
        self.from_latent = nn.Linear(settings.latent_dim, d_model)
        positions = settings.num_latents if self.compressed else settings.max_tokens
        self.position = nn.Parameter(torch.randn(positions, d_model) * d_model**-0.5)
        self.noising = LatentNoising(settings.num_latents if self.compressed else 1, settings.latent_dim)
        self.level = LevelEmbedding(d_model)
        self.reconstruction = nn.ModuleList(
            nn.TransformerEncoderLayer(d_model, **options, batch_first=True, norm_first=True)
            for _ in range(settings.reconstruction_layers)
        )

    def compress(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents [batch, vectors, latent_dim] of encoder states, and their mask [batch, vectors] (True: real)."""
        if self.compressed:
            queries = self.queries.expand(len(states), -1, -1)
            for block in self.resampler:
                queries = block(queries, states, memory_key_padding_mask=~mask)
            states, mask = queries, mask.new_ones(queries.shape[:2])
        return normalise_vectors(self.to_latent(states)), mask

    def expand(self, latents: Tensor, mask: Tensor, levels: Tensor | None) -> Tensor:
        """Return the memory of the decoder, [batch, vectors, d_model], from latents [batch, vectors, latent_dim]."""
        memory: Tensor = self.from_latent(latents) + self.position[: latents.shape[1]]
        if levels is not None:
            memory = memory + self.level(levels)
        for block in self.reconstruction:
            memory = block(memory, src_key_padding_mask=None if self.compressed else ~mask)
        return memory

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return all matrices but the queries and the positions."""
        return [p for name, p in self.named_parameters() if p.ndim == 2 and name not in ("queries", "position")]


def normalise_vectors(latents: Tensor) -> Tensor:
    """Shift and scale every vector [..., width] to mean 0 and norm sqrt(width)."""
    return F.layer_norm(latents, latents.shape[-1:])


class Reading(nn.Module):
    """What is trained of a pretrained BART that reads noisy latents: the layers before its decoder, and those of the decoder."""

    def __init__(self, reader: Bottleneck | NoiseAdapter, decoder_layers: nn.ModuleList) -> None:
        super().__init__()
        self.reader = reader
        self.decoder_layers = decoder_layers

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return all matrices of the decoder's layers, and those of the layers before it."""
        return [*(p for p in self.decoder_layers.parameters() if p.ndim == 2), *self.reader.hidden_matrices()]


class Autoencoder(nn.Module):
    """A BART, its tokenizer and the bottleneck; the code is the same for a small BART and a pretrained one.

    Raises:
        InputError: latent_dim is not the width of frozen states, or max_tokens is more than the BART's positions.
    """

    def __init__(self, bart: BartForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, settings: LatentSettings) -> None:
        super().__init__()
        config: Any = bart.config  # declared optional, but every BART has these fields
        if settings.frozen_states and settings.latent_dim != config.d_model:
            raise InputError(
                f"train_autoencoder.latent_dim = {settings.latent_dim}: per_token latents of a pretrained model are its "
                f"encoder's states, so it must be the model's d_model, {config.d_model}"
            )
        if settings.max_tokens > config.max_position_embeddings:
            raise InputError(
                f"train_autoencoder.max_tokens = {settings.max_tokens} is more than the model's "
                f"{config.max_position_embeddings} positions"
            )
        self.bart = bart
        self.tokenizer = tokenizer
        self.settings = settings
        heads = config.encoder_attention_heads
        self.bottleneck = None if settings.frozen_states else Bottleneck(settings, config.d_model, heads)
        self.adapter: NoiseAdapter | None = None
        if settings.frozen_states and settings.adapter_layers:
            self.adapter = NoiseAdapter(config.d_model, settings.adapter_layers, heads)

    @property
    def reader(self) -> Bottleneck | NoiseAdapter | None:
        """The layers that are trained to read latents for the decoder; None: there are none."""
        return self.adapter if self.bottleneck is None else self.bottleneck

    @property
    def highest_level(self) -> float:
        """The highest noise level that the decoder has learned to read."""
        return 0.0 if self.reader is None else self.settings.latent_noise

    @property
    def normalised(self) -> bool:
        """Whether every latent vector has norm sqrt(latent_dim)."""
        return self.bottleneck is not None

    def encode(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode token ids and mask [batch, tokens] as latents [batch, vectors, latent_dim] and mask [batch, vectors]."""
        states = self.bart.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return (states, mask) if self.bottleneck is None else self.bottleneck.compress(states, mask)

    def memory(self, latents: Tensor, mask: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return what the decoder reads, [batch, vectors, d_model], from latents [batch, vectors, latent_dim].

        Args:
            levels: noise levels of the latents, [batch], `noising.NOT_TOLD` where the decoder is not told; None: it is not told
                of any, and an adapter leaves the latents as they are.
        """
        if self.bottleneck is not None:
            return self.bottleneck.expand(latents, mask, levels)
        return latents if self.adapter is None or levels is None else self.adapter(latents, mask, levels)

    def logits(self, latents: Tensor, mask: Tensor, decoder_ids: Tensor, levels: Tensor | None = None) -> Tensor:
        """Return the scores of the next token, [batch, tokens, vocabulary], for the decoder's inputs [batch, tokens].

        Args:
            levels: as of `memory`.
        """
        output: Tensor = self.bart(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.memory(latents, mask, levels)),
            attention_mask=mask,
            decoder_input_ids=decoder_ids,
            use_cache=False,
        ).logits
        return output

    def freeze_bart(self, but_decoder: bool) -> None:
        """Leave only the layers that read latents to be trained, and, with `but_decoder`, those of the decoder."""
        self.bart.requires_grad_(False)
        self.bart.model.decoder.layers.requires_grad_(but_decoder)

    def learner(self) -> "Autoencoder | Bottleneck | NoiseAdapter | Reading":
        """Return the part that is trained: everything, or what reads the latents of a frozen BART."""
        if self.bart.lm_head.weight.requires_grad:
            return self
        assert self.reader is not None  # with nothing to train there is no training
        layers = self.bart.model.decoder.layers
        trained = any(parameter.requires_grad for parameter in layers.parameters())
        return Reading(self.reader, layers) if trained else self.reader

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return the matrices of BART's layers and of the bottleneck."""
        layers = [*self.bart.model.encoder.layers.parameters(), *self.bart.model.decoder.layers.parameters()]
        return [p for p in layers if p.ndim == 2] + ([] if self.bottleneck is None else self.bottleneck.hidden_matrices())

    def save(self, folder: Path, fingerprint: str, dataset_name: str) -> None:
        """Write the models, the tokenizer and the description to `folder`.

        Args:
            fingerprint: of the texts it was trained on.
        """
        with atomic_path(folder) as partial:
            self.bart.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            if self.reader is not None:
                save_file(self.reader.state_dict(), partial / READER_WEIGHTS)
            write_json(
                partial / DESCRIPTION,
                {"dataset_name": dataset_name, "fingerprint": fingerprint, "latents": asdict(self.settings)},
            )

    @classmethod
    def load(cls, folder: Path) -> "Autoencoder":
        """Read what `save` wrote, in evaluation mode.

        Raises:
            InputError: `folder` holds no autoencoder.
        """
        if not (folder / DESCRIPTION).exists():
            raise InputError(f"{folder} holds no autoencoder ({DESCRIPTION} is missing); the stage train_autoencoder writes it")
        settings = LatentSettings(**read_json(folder / DESCRIPTION)["latents"])
        bart = BartForConditionalGeneration.from_pretrained(folder)
        autoencoder = cls(bart, AutoTokenizer.from_pretrained(folder), settings)
        if autoencoder.reader is not None:
            autoencoder.reader.load_state_dict(load_file(folder / READER_WEIGHTS))
        return autoencoder.eval()


def require_same_corpus(folder: Path, fingerprint: str) -> None:
    """Check that the autoencoder in `folder` was trained on the texts of this fingerprint.

    Raises:
        InputError: it was trained on others.
    """
    description = read_json(folder / DESCRIPTION)
    if description["fingerprint"] != fingerprint:
        raise InputError(
            f"{folder} was trained on other texts ({description['dataset_name']}, fingerprint {description['fingerprint'][:12]}) "
            f"than those prepared here (fingerprint {fingerprint[:12]}); run the stage train_autoencoder again"
        )


def small_bart(
    tokenizer: PreTrainedTokenizerBase, d_model: int, layers: int, heads: int, max_tokens: int
) -> BartForConditionalGeneration:
    """Return an untrained BART for the vocabulary of `tokenizer`.

    It has no dropout: training drops inputs of the decoder instead.
    """
    config = BartConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=max_tokens + 2,
        d_model=d_model,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * d_model,
        decoder_ffn_dim=4 * d_model,
        dropout=0.0,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
        forced_eos_token_id=None,
        init_std=d_model**-0.5,  # BART's own 0.02 is for its width of 768 and more
    )
    return BartForConditionalGeneration(config)

import dataclasses
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from accelerate.state import AcceleratorState
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from annealed_lab.benchmarks import evaluation, sampling, training
from annealed_lab.benchmarks.evaluation import ExperimentOutputs, measure_evaluation
from annealed_lab.benchmarks.machine import in_fresh_process, matrix_rates, median_seconds, peak_memory
from annealed_lab.benchmarks.results import Results, rate_rows, titled_table
from annealed_lab.benchmarks.sampling import (
    WAYS_TO_DECODE,
    DecodingWay,
    SamplingWay,
    measure_decoding,
    measure_sampling,
    rows_of_ways,
    ways_to_sample,
)
from annealed_lab.benchmarks.sizes import (
    SIZES,
    Size,
    config_of,
    latent_lengths,
    latent_shape,
    make_autoencoder,
    number_tokenizer,
    random_texts,
    text_lengths,
)
from annealed_lab.benchmarks.training import (
    IN_FULL,
    PLAIN,
    USUAL,
    Way,
    has_compiler,
    measure_checkpoint,
    measure_extrapolation,
    measure_training,
    trainer_of,
    training_rows,
    ways_to_train,
)
from annealed_lab.commands import bench as command
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_jsonl
from annealed_lm.common.intervals import parse_interval
from annealed_lm.common.machine import describe_machine, processor
from annealed_lm.common.model_description import ModelDescription
from annealed_lm.config.config import Config
from annealed_lm.diffusion.denoiser import DenoisingTransformer, forward_flops, training_flops
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.judges import Judges
from annealed_lm.generation import sampling as latent_sampling
from annealed_lm.generation.sampling import per_text_noise
from annealed_lm.trainers.assembly import make_denoiser
from support.scored import JUDGE, OTHERS, REFERENCES, SCALINGS, TRAIN, VALID, draw_features
from support.tiny import CPU, ROOT

pytestmark = pytest.mark.usefixtures("no_precision_left_over")
PARAMS, PRESETS = ROOT / "params.yaml", ROOT / "presets"
GPU = torch.device("cuda")
SMALL = {"d_model": 16, "layers": 1, "heads": 2, "vocab_size": 64, "max_tokens": 12, "num_latents": 3}
DENOISER = {"tx_dim": 16, "tx_depth": 2, "tx_heads": 2, "self_condition": 0.5, "dropout": 0, "train_batch_size": 4}
TINY = {
    layout: Size(
        {
            "train_autoencoder": SMALL | {"latent_layout": layout, "latent_dim": width, "resampler_layers": 1},
            "train_diffusion": DENOISER,
        },
        steps=2,
        sampling_steps=2,
        sampled_texts=6,
        decoded_texts=3,
    )
    for layout, width in (("compressed", 8), ("per_token", 16))
}
MACHINE = {"processor": "abacus"}


def tiny_config(layout: str = "per_token", **training: Any) -> Config:
    return config_of(TINY[layout], PRESETS, CPU, IN_FULL | training)


def denoiser_of(config: Config) -> DenoisingTransformer:
    return make_denoiser(config.train_diffusion, latent_shape(config), seed=0)


@pytest.fixture(params=list(TINY))
def config(request: pytest.FixtureRequest) -> Config:
    return tiny_config(request.param)


@pytest.mark.parametrize(
    ("name", "dim", "depth", "batch_size", "vectors"),
    [("default", 128, 4, 128, 8), ("default per token", 128, 4, 64, 64), ("medium", 384, 8, 32, 64), ("thesis", 768, 12, 16, 64)],
)
def test_sizes_are_what_they_are_called(name: str, dim: int, depth: int, batch_size: int, vectors: int) -> None:
    config = config_of(SIZES[name], PRESETS, CPU)
    section, max_tokens = config.train_diffusion, config.train_autoencoder.max_tokens
    assert (section.tx_dim, section.tx_depth, section.train_batch_size) == (dim, depth, batch_size)
    assert section.self_condition == 0.5
    assert config.optimizer == ("muon" if dim == 128 else "adamw")
    assert latent_lengths(config, [max_tokens]) == [vectors]


def test_the_thesis_has_its_batch_where_there_is_a_gpu() -> None:
    assert config_of(SIZES["thesis"], PRESETS, GPU).train_diffusion.train_batch_size == 64


def test_texts_are_as_long_as_those_of_e2e_and_no_longer_than_the_model_takes() -> None:
    lengths = text_lengths(2000, 64)
    assert lengths == text_lengths(2000, 64)
    assert sum(lengths) / len(lengths) == pytest.approx(25.1, abs=0.5)
    assert 4 <= min(lengths) < 12
    assert 40 < max(lengths) <= 64
    assert max(text_lengths(2000, 20)) == 20


def test_the_tokenizer_has_the_vocabulary_that_was_asked_for() -> None:
    assert len(number_tokenizer(1000, 12)) == 1000


def test_random_texts_fill_a_window_of_batches_and_fit_their_latents(config: Config) -> None:
    texts = random_texts(config)
    assert len(texts.token_ids) == len(texts.latents) == 50 * 4
    expected = [3 if config.train_autoencoder.latent_layout == "compressed" else len(ids) for ids in texts.token_ids]
    assert texts.latents.index.lengths.tolist() == expected
    assert all(4 <= token < 64 for ids in texts.token_ids for token in ids)


def test_ways_to_train_add_one_saving_each() -> None:
    ways = ways_to_train(with_padding=True, compiler=True)
    assert [way.name for way in ways] == ["plain", "+ cached latents", "+ no padding", "+ fused", "+ bf16", "+ compile"]
    assert ways[0] == PLAIN
    for before, way in pairwise(ways):
        changed = [key for key, value in way.training.items() if before.training[key] != value]
        saved = [name for name in ("cached", "padded", "fused") if getattr(way, name) != getattr(before, name)]
        assert len(changed) + len(saved) == 1
    fewest = ways_to_train(with_padding=False, compiler=False)
    assert [way.name for way in fewest] == ["plain", "+ cached latents", "+ fused", "+ bf16"]


def test_a_compiler_is_there_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise InputError("no compiler")

    monkeypatch.setattr(training, "require_compiler", lambda: None)
    assert has_compiler()
    monkeypatch.setattr(training, "require_compiler", absent)
    assert not has_compiler()


@pytest.mark.parametrize("length", [5, 12])
def test_model_flops_are_those_that_torch_counts(length: int) -> None:
    denoiser = denoiser_of(tiny_config(self_condition=0.5))
    latents, mask = torch.randn(3, length, 16), torch.ones(3, length, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        denoiser(latents, torch.rand(3), mask)
    assert forward_flops(denoiser, [length] * 3) == counter.get_total_flops()


def test_training_is_three_evaluations_and_those_of_self_conditioning() -> None:
    denoiser = denoiser_of(tiny_config())
    assert training_flops(denoiser, [3, 5], 0.5) == 3.5 * forward_flops(denoiser, [3, 5])


# Measuring


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_a_training_is_measured(config: Config, cached: bool, plain: bool) -> None:
    measured = measure_training(config, Way("tried", cached, padded=plain, fused=not plain, training={}), steps=2)
    assert measured.pop("compile_seconds") is None
    assert all(value > 0 for value in measured.values())
    lengths = random_texts(config).latents.index.lengths
    assert measured["texts_per_second"] == pytest.approx(4 / measured["seconds_per_step"])
    assert measured["tokens_per_second"] == pytest.approx(measured["texts_per_second"] * lengths.mean())


def test_compiling_is_told_apart_from_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([31.5, 0.5, 0.1, 0.5])  # of the warm-up, then of the steps
    monkeypatch.setattr(training, "seconds_of", lambda work, device: next(seconds))
    monkeypatch.setattr(training, "trainer_of", lambda config, way: trainer_of(tiny_config(), way))
    measured = measure_training(tiny_config(compile=True), USUAL, steps=3)
    assert measured["compile_seconds"] == pytest.approx(31.5 - 6 * 0.5)


def test_rows_of_training_stand_beside_plain_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "has_compiler", lambda: False)
    pace = iter([10.0, 20.0, 40.0, 40.0, 80.0])
    seen: list[tuple[bool, bool, bool, str]] = []

    def measure(config: Config, way: Way) -> dict[str, Any]:
        seen.append((way.cached, way.padded, way.fused, config.train_diffusion.mixed_precision))
        return {"texts_per_second": next(pace), "flops_per_second": 6.0}

    rows = training_rows(lambda changes: tiny_config(**changes), measure, {"no": 12.0, "bf16": 24.0})
    assert [row["speedup"] for row in rows] == [1, 2, 4, 4, 8]
    assert [row["mfu"] for row in rows] == [0.5, 0.5, 0.5, 0.5, 0.25]
    assert seen == [
        (False, True, False, "no"),
        (True, True, False, "no"),
        (True, False, False, "no"),
        (True, False, True, "no"),
        (True, False, True, "bf16"),
    ]
    assert all(row["batch"] == 4 and "flops_per_second" not in row for row in rows)


def test_the_time_of_a_whole_training_is_that_of_its_steps() -> None:
    row = measure_extrapolation(tiny_config(num_train_steps=120, lr_warmup_steps=1), steps=3)
    assert row["minutes"] == pytest.approx(row["seconds_per_step"] * 120 / 60)
    assert (row["measured_steps"], row["num_train_steps"]) == (3, 120)


def test_a_checkpoint_holds_weights_average_and_optimizer_and_leaves_nothing_behind(tmp_path: Path) -> None:
    row = measure_checkpoint(tiny_config(), tmp_path / "benchmark")
    parameters = sum(parameter.numel() for parameter in denoiser_of(tiny_config()).parameters())
    assert row["bytes"] > 3 * 4 * parameters
    assert row["seconds_to_save"] > 0
    assert not (tmp_path / "benchmark").exists()


def test_ways_to_sample() -> None:
    ways = ways_to_sample(CPU, with_padding=True)
    assert list(ways) == ["plain", "+ no padding", "+ large batches", "+ bf16"]
    assert ways["plain"] == SamplingWay(True, 64, "no")
    assert ways["+ bf16"] == SamplingWay(False, 250, "bf16")
    assert "+ no padding" not in ways_to_sample(GPU, with_padding=False)


@pytest.mark.parametrize("padded", [True, False])
def test_sampling_is_timed_in_few_steps_and_stated_for_all(config: Config, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []
    monkeypatch.setattr(sampling, "sample_latents", lambda *args, **settings: drawn.append(args[3]))
    monkeypatch.setattr(sampling, "seconds_of", lambda work, device: (work(), 2.0)[1])
    measured = measure_sampling(config, SamplingWay(padded, 4, "no"), CPU, texts=6, steps=5)
    assert measured["texts_per_second"] == pytest.approx(6 / (2.0 * 50 / 5))
    assert len(drawn[-1]) == 6
    if padded and config.train_autoencoder.latent_layout == "per_token":
        assert set(drawn[-1]) == {12}


def test_sampling_runs_in_either_precision(config: Config) -> None:
    for precision in ("no", "bf16"):
        measured = measure_sampling(config, SamplingWay(False, 4, precision), CPU, texts=6, steps=2)
        assert measured["texts_per_second"] > 0
        assert 0 < measured["share_of_noise"] < 1


def test_the_noise_that_is_timed_is_that_of_sampling(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Size] = []

    def recorded(*arguments: Any) -> Callable[[], torch.Tensor]:
        noise = per_text_noise(*arguments)

        def draw() -> torch.Tensor:
            rows = noise()
            drawn.append(rows.shape)
            return rows

        return draw

    for module in (latent_sampling, sampling):
        monkeypatch.setattr(module, "per_text_noise", recorded)
    measure_sampling(config, SamplingWay(False, 4, "no"), CPU, texts=6, steps=3)
    _warm_up, sampled, timed = drawn[:4], drawn[4:10], drawn[10:]  # of two batches a draw a step: two, three, and three again
    assert timed == sampled


@pytest.mark.parametrize("way", WAYS_TO_DECODE.values())
def test_decoding_is_measured(config: Config, way: DecodingWay) -> None:
    measured = measure_decoding(config, way, CPU, texts=3)
    assert measured["texts_per_second"] > 0
    assert measured["tokens_of_a_text"] == 12


def test_the_cache_changes_no_token_and_every_text_is_written_to_its_end(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[torch.Tensor] = []
    caches: list[bool] = []

    def watched(config: Config) -> Autoencoder:
        torch.manual_seed(0)
        autoencoder = make_autoencoder(config)
        decode, forward = autoencoder.tokenizer.batch_decode, autoencoder.bart.forward

        @wraps(forward)
        def watched_forward(**inputs: Any) -> Any:
            caches.append(bool(inputs["use_cache"]))
            return forward(**inputs)

        monkeypatch.setattr(autoencoder.tokenizer, "batch_decode", lambda ids, **options: (written.append(ids), decode(ids))[1])
        monkeypatch.setattr(autoencoder.bart, "forward", watched_forward)
        return autoencoder

    monkeypatch.setattr(sampling, "make_autoencoder", watched)
    for name in ("greedy, no cache", "greedy"):
        measure_decoding(config, WAYS_TO_DECODE[name], CPU, texts=4)
    assert torch.equal(written[1], written[3])  # after a warm-up each
    assert written[1].shape == (4, 12)
    assert caches == sorted(caches)
    assert len(set(caches)) == 2


def test_rows_stand_beside_the_first() -> None:
    pace = {"no": 5.0, "bf16": 20.0}
    ways = {"plain": SamplingWay(True, 4, "no"), "+ bf16": SamplingWay(True, 4, "bf16")}
    rows = rows_of_ways(ways, lambda way: {"texts_per_second": pace[way.mixed_precision]})
    assert [(row["way"], row["mixed_precision"], row["speedup"]) for row in rows] == [("plain", "no", 1), ("+ bf16", "bf16", 4)]


class StandIn:
    """Stands for a model that gives features; how many texts it was asked for, by call."""

    description = ModelDescription("stand-in", "b" * 64, 8)

    def __init__(self) -> None:
        self.asked: list[int] = []

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        self.asked.append(sum(map(len, sets.values())))
        return {name: draw_features(number)["sentence"][: len(texts)] for number, (name, texts) in enumerate(sets.items())}


def test_evaluation_is_timed_with_and_without_the_references_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = ExperimentOutputs(*(tmp_path / name for name in ("texts", "samples", "references", "language_model", "judges")))
    outputs.texts.mkdir()
    (outputs.samples / "42").mkdir(parents=True)
    outputs.references.mkdir()
    REFERENCES.save(outputs.references)
    for path, texts in (("texts/train", TRAIN), ("texts/valid", VALID), ("samples/42/greedy", OTHERS)):
        write_jsonl(tmp_path / f"{path}.jsonl", ({"text": text} for text in texts))
    model = StandIn()
    judges = Judges(JUDGE, {kind: cast(FeatureModel, model) for kind in SCALINGS})
    monkeypatch.setattr(evaluation, "load_same_judges", lambda *args: judges)
    measured = measure_evaluation(tiny_config(), outputs, repeats=2)
    at_hand, *recomputed = measured["rows"]
    assert measured["texts"] == len(OTHERS)
    assert [row["references"] for row in recomputed] == ["features and n-grams recomputed", "and scores of real texts"]
    assert at_hand["share of it at hand"] == 1
    assert all(row["share of it at hand"] == at_hand["seconds"] / row["seconds"] for row in recomputed)
    texts, kinds = len(OTHERS), len(SCALINGS)
    one_round = [texts, 2 * texts, texts, 2 * texts, texts, texts]  # at hand; recomputed; and with the rows of real texts
    assert model.asked == [each for each in [texts, *one_round, *one_round] for _ in range(kinds)]


# The machine


def test_each_measurement_has_a_process_of_its_own_and_its_errors_are_passed_on() -> None:
    held = torch.ones(100_000_000)  # 0.4 GB that are none of the other process's
    assert len({in_fresh_process(os.getpid), in_fresh_process(os.getpid), os.getpid()}) == 3
    assert in_fresh_process(peak_memory, CPU) < peak_memory(CPU) - 0.2 * len(held) * 4 / 1e9
    with pytest.raises(ValueError, match="should be a number of steps"):
        in_fresh_process(parse_interval, "soon")
    with pytest.raises(InputError, match=r"was killed, .* memory"):
        in_fresh_process(os._exit, 1)


def test_matrix_rates_are_of_both_precisions() -> None:
    rates = matrix_rates(CPU, 64, 2)
    assert list(rates) == ["no", "bf16"]
    assert all(rate > 1e6 for rate in rates.values())
    first, second = rate_rows({"no": 2e9, "bf16": 5e9})
    assert (first["gflops"], first["speedup"], second["speedup"]) == (2, 1, 2.5)


def test_the_machine_is_what_decides_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_machine(CPU) == {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "torch": torch.__version__,
    }
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    assert describe_machine(GPU)["device"] == "a GPU"


def test_a_gpu_is_waited_for_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000_000)
    assert median_seconds(lambda: order.append("work"), GPU, 2) > 0
    assert order == ["wait", "work", "wait"] * 2
    assert peak_memory(GPU) == 3


# The results


def test_results_of_this_machine_are_kept_and_replaced_by_size(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    before = Results(path, MACHINE)
    before.put("training", [{"seconds_per_step": 3.0}, {"seconds_per_step": 2.0}], "default")
    before.put("training", [{"seconds_per_step": 9.0}], "thesis")
    before.put("evaluation", {"texts": 4})
    after = Results(path, MACHINE)
    after.put("training", [{"seconds_per_step": 1.0}], "thesis")
    assert json.loads(path.read_text()) == {
        "machine": MACHINE,
        "training": {"default": [{"seconds_per_step": 3.0}, {"seconds_per_step": 2.0}], "thesis": [{"seconds_per_step": 1.0}]},
        "evaluation": {"texts": 4},
    }
    assert (after.seconds_per_step("default"), after.seconds_per_step("medium")) == (2, None)


def test_results_of_another_machine_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    Results(path, {"processor": "slide rule"}).put("evaluation", {"texts": 4})
    Results(path, MACHINE).put("training", [], "default")
    assert json.loads(path.read_text()) == {"machine": MACHINE, "training": {"default": []}}


def test_a_table_has_a_title_and_leaves_empty_what_has_no_value() -> None:
    table = titled_table("speed", [{"way": "plain", "seconds": None}])
    assert table == "speed\n\n| way   | seconds   |\n|-------|-----------|\n| plain |           |\n"


# The command

Bench = Callable[..., dict[str, Any]]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run the command on tiny models in this process; what it left in its file."""
    monkeypatch.setattr(command, "SIZES", TINY | {"unsampled": dataclasses.replace(TINY["per_token"], sampled_texts=0)})
    for module in (command, training):
        monkeypatch.setattr(module, "has_compiler", lambda: False)

    def in_this_process(work: Callable[..., Any], *args: Any) -> Any:
        AcceleratorState._reset_state(reset_partial_state=True)
        return work(*args)

    monkeypatch.setattr(command, "in_fresh_process", in_this_process)

    def run(*arguments: str) -> dict[str, Any]:
        paths = {
            "presets": PRESETS,
            "params": PARAMS,
            "samples": tmp_path / "samples",
            "resume": tmp_path / "resume",
            "out": tmp_path / "bench.json",
        }
        options = [each for name, path in paths.items() for each in (f"--{name}", str(path))]
        command.main("lab.py bench", [*options, "--matrix-size", "32", *arguments])
        values: dict[str, Any] = json.loads((tmp_path / "bench.json").read_text())
        return values

    return run


def test_everything_but_evaluation_is_measured_without_an_experiment(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    values = bench()
    assert set(values) == {"machine", "matrix_products", "training", "checkpoint", "sampling", "decoding"}
    for section in ("training", "sampling", "decoding"):
        for rows in values[section].values():
            assert rows[0]["speedup"] == 1
            assert all(row["texts_per_second"] > 0 and row["peak_memory_gb"] > 0 for row in rows)
    assert [len(rows) for rows in values["training"].values()] == [4, 5, 5]
    assert list(values["sampling"]) == ["compressed", "per_token"]
    assert all(row["mfu"] > 0 for rows in values["training"].values() for row in rows)
    (checkpoint,) = values["checkpoint"]["per_token"]
    step = min(row["seconds_per_step"] for row in values["training"]["per_token"])
    seconds = checkpoint["seconds_to_save"]
    assert checkpoint["share_of_training"] == pytest.approx(seconds / (seconds + checkpoint["checkpoint_every"] * step))
    printed = capsys.readouterr().out
    assert "evaluation is left out: " in printed
    assert "there is no C++ compiler" in printed
    assert len(re.findall(r"\| way +\|", printed)) == 3 + 2 + 3


def test_chosen_sections_and_sizes_are_measured_and_the_others_kept(bench: Bench) -> None:
    before = bench("--sections", "decoding,checkpoint", "--sizes", "compressed,per_token")
    after = bench("--sections", "decoding", "--sizes", "compressed")
    assert after["checkpoint"] == before["checkpoint"]
    assert after["decoding"]["per_token"] == before["decoding"]["per_token"]
    assert after["decoding"]["compressed"] != before["decoding"]["compressed"]
    assert before["checkpoint"]["compressed"][0]["share_of_training"] is None  # training was not measured


def test_a_checkpoint_in_seconds_takes_its_share_of_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = TINY["compressed"].changes | {"train_diffusion": DENOISER | {"checkpoint_every": "2min"}}
    monkeypatch.setattr(command, "SIZES", {"timed": Size(timed)})
    (row,) = bench("--sections", "checkpoint")["checkpoint"]["timed"]
    assert row["share_of_training"] == pytest.approx(row["seconds_to_save"] / (120 + row["seconds_to_save"]))


def test_a_whole_training_is_extrapolated_and_nothing_else_is_done(bench: Bench) -> None:
    values = bench("--extrapolate", "--sizes", "per_token", "--steps", "2")
    assert set(values) == {"machine", "matrix_products", "extrapolation"}
    (row,) = values["extrapolation"]["per_token"]
    assert row["minutes"] == pytest.approx(row["seconds_per_step"] * row["num_train_steps"] / 60)


@pytest.mark.parametrize(("option", "allowed"), [("--sections", "training"), ("--sizes", "compressed")])
def test_unknown_names_are_refused_with_those_there_are(bench: Bench, option: str, allowed: str) -> None:
    with pytest.raises(InputError, match=f"{option} everything: it should be some of .*{allowed}"):
        bench(option, f"{allowed},everything")

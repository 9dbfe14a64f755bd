"""The report: every part at a tiny size, in this process; its clock, what is kept, and its tables."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from annealed_lab.benchmarks.captured import rounded_up
from annealed_lab.commands import gpu_report
from annealed_lab.gpu_report import checks, items, parts, steps
from annealed_lab.gpu_report.checks import outcomes, run_tests
from annealed_lab.gpu_report.device import published_rates
from annealed_lab.gpu_report.items import Clock, Item, NotMeasuredError, Part, Setting, in_own_process
from annealed_lab.gpu_report.parts import PARTS, Store, measure_part
from annealed_lab.gpu_report.sizes import THESIS, TINY
from annealed_lab.gpu_report.steps import best_way, ways
from annealed_lab.gpu_report.summary import figures, training_rows
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_texts
from support.tiny import CPU, ROOT, write_prepared

pytestmark = pytest.mark.usefixtures("no_precision_left_over")
QUICK = [name for name in PARTS if name != "tests"]
IDENTITY = {"size": "tiny", "device": "abacus"}


def here(seconds: float, item: Item) -> dict[str, Any]:
    """Do an item's work in this process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return item.work(*item.arguments)


def setting(out: Path, minutes: float = 10, **changes: Any) -> Setting:
    usual = Setting(TINY, ROOT / "presets", out / "texts", out, CPU, False, Clock.of_minutes(minutes), {})
    return replace(usual, **changes)


def test_every_part_is_made_at_a_tiny_size_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prepared(tmp_path / "texts")
    places = ["--presets", str(ROOT / "presets"), "--texts", str(tmp_path / "texts"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(gpu_report, "default_device", lambda: CPU)
    arguments = [*places, "--tiny", "--parts", ",".join(QUICK)]
    gpu_report.main("lab.py gpu-report", arguments, here)
    found = read_json(tmp_path / "out" / "gpu.json")
    assert found["left_out"] == {}
    assert list(found["parts"]) == QUICK
    assert len(read_texts(tmp_path / "out" / "samples.jsonl")) == 20
    known = read_json(tmp_path / "out" / "bench_gpu.json")
    assert known["figures"].keys() == known["goals"].keys()
    assert all(value > 0 for value in known["figures"].values())
    assert [row["way"] for row in known["training"]][-3:] == ["+ CUDA graphs", "+ CUDA graphs, rotary", "+ CUDA graphs, batch 8"]
    tables = (tmp_path / "out" / "report.md").read_text()
    assert all(f"## {PARTS[name].title}\n" in tables for name in QUICK)
    assert tables.rstrip() in capsys.readouterr().out

    def never(seconds: float, item: Item) -> dict[str, Any]:
        raise AssertionError(f"{item.name} is measured again")

    gpu_report.main("lab.py gpu-report", arguments, never)
    assert read_json(tmp_path / "out" / "gpu.json") == found


# The clock, and what is kept


def fake_part(monkeypatch: pytest.MonkeyPatch, *names: str, chained: bool = False, least: float = 0) -> None:
    """Let the part "device" have these items, whose work says their name, and fails for the name "bad"."""

    def work(name: str) -> dict[str, Any]:
        if name == "bad":
            raise NotMeasuredError("it is bad")
        return {"name": name}

    part = Part("Fake", lambda setting: [Item(name, least, work, (name,)) for name in names], chained)
    monkeypatch.setitem(parts.PARTS, "device", part)


@pytest.mark.parametrize("chained", [False, True])
def test_what_fails_is_told_and_stops_only_what_needs_it(chained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_part(monkeypatch, "one", "bad", "three", chained=chained)
    store = Store(tmp_path / "gpu.json", IDENTITY)
    measure_part("device", setting(tmp_path), store, here)
    assert store.measured["device"] == {"one": {"name": "one"}} | ({} if chained else {"three": {"name": "three"}})
    assert store.values["left_out"] == {"device: bad": "it is bad"} | ({"device: three": "it needs bad"} if chained else {})
    fake_part(monkeypatch, "one", "three", chained=chained)
    again = Store(tmp_path / "gpu.json", IDENTITY)  # what is left is measured in the next report
    measure_part("device", setting(tmp_path), again, here)
    assert list(again.measured["device"]) == ["one", "three"]


def test_a_part_that_cannot_say_its_items_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parts.PARTS, "device", Part("Fake", lambda setting: [][0]))
    store = Store(tmp_path / "gpu.json", IDENTITY)
    measure_part("device", setting(tmp_path), store, here)
    assert store.values["left_out"]["device: all"].startswith("IndexError: list index out of range")


def test_nothing_is_begun_for_which_there_is_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_part(monkeypatch, "long", least=1000)
    store = Store(tmp_path / "gpu.json", IDENTITY)
    measure_part("device", setting(tmp_path, minutes=5, device=torch.device("cuda")), store, here)
    assert store.measured == {}
    assert "seconds were left, and it may take 1000" in store.values["left_out"]["device: long"]
    measure_part("device", setting(tmp_path, minutes=0), store, here)  # on a CPU nothing is known of how long it takes
    assert store.measured == {}


def test_results_of_other_code_or_another_machine_are_not_kept(tmp_path: Path) -> None:
    Store(tmp_path / "gpu.json", IDENTITY).put("device", "device", {"rate": 1})
    assert Store(tmp_path / "gpu.json", IDENTITY).measured == {"device": {"device": {"rate": 1}}}
    assert Store(tmp_path / "gpu.json", IDENTITY | {"device": "loom"}).measured == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "device,tea"], "--parts tea: it should be some of device, tests"),
        (["--minutes", "0"], "--minutes 0: it should be more than 0"),
        ([], "this machine has no GPU that torch can use: --tiny rehearses"),
        (["--tiny", "--texts", "nowhere"], "nowhere holds no prepared texts"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_report, "default_device", lambda: CPU)
    with pytest.raises(InputError, match=told):
        gpu_report.main("lab.py gpu-report", arguments, here)


@pytest.mark.slow
def test_a_process_of_its_own_is_ended_in_time_and_says_how_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is of the standard library, which a process can import wherever these tests lie."""
    monkeypatch.setattr(items, "PRELOADED", [])
    assert in_own_process(60, Item("", 0, dict, ({"made": 1},))) == {"made": 1}
    started = time.monotonic()
    with pytest.raises(NotMeasuredError, match="it took more than the 1 seconds that it had"):
        in_own_process(1, Item("", 0, time.sleep, (600.0,)))
    assert time.monotonic() - started < 30
    with pytest.raises(NotMeasuredError, match=r"ZeroDivisionError: .* \(items.py line \d+\)"):
        in_own_process(60, Item("", 0, divmod, (1, 0)))
    with pytest.raises(NotMeasuredError, match="its process ended without a result, with status 7"):
        in_own_process(60, Item("", 0, os._exit, (7,)))


# What is measured


def test_the_thesis_is_measured_in_all_ways(tmp_path: Path) -> None:
    names = [way.name for way in ways(setting(tmp_path, size=THESIS, compiler=True))]
    assert names == [
        "plain",
        "+ cached latents",
        "+ no padding",
        "+ fused",
        "+ bf16",
        "+ compile",
        "+ CUDA graphs",
        "+ CUDA graphs, rotary",
        "+ CUDA graphs, batch 256",
        "+ CUDA graphs, not compiled",
    ]
    assert "+ compile" not in [way.name for way in ways(setting(tmp_path, size=THESIS, compiler=False))]


def test_the_whole_training_is_told_of_the_fastest_way_of_the_thesis(tmp_path: Path) -> None:
    pace = {"plain": 9.0, "+ bf16": 1.0, "+ CUDA graphs": 2.0, "+ CUDA graphs, rotary": 0.5}
    known = {"training": {name: {"seconds_per_step": seconds} for name, seconds in pace.items()}}
    assert best_way(setting(tmp_path, known=known)).name == "+ bf16"
    assert best_way(setting(tmp_path)).name == "+ CUDA graphs"


def test_a_whole_training_is_told_from_the_steps_for_which_there_is_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "CHUNK", 10)
    (item,) = steps.whole_items(setting(tmp_path, size=replace(TINY, whole_steps=120)))
    *arguments, _ = item.arguments
    row = steps.measure_whole(*arguments, Clock.of_minutes(0))
    assert row["measured_steps"] == 10
    assert row["minutes"] == pytest.approx(row["seconds_per_step"] * row["num_train_steps"] / 60)


@pytest.mark.parametrize(("length", "padded"), [(1, 8), (8, 8), (9, 16), (60, 60), (63, 60)])
def test_lengths_are_padded_to_few(length: int, padded: int) -> None:
    assert rounded_up(length, 60) == padded


def test_what_is_published_is_of_the_device() -> None:
    assert published_rates("NVIDIA H100 80GB HBM3")["bf16"] == published_rates("NVIDIA H200")["bf16"] == 989.4e12
    assert published_rates("abacus") == {}


def test_rows_stand_beside_plain_and_beside_the_device() -> None:
    row = {"precision": "bf16", "tflops": 10.0, "same_work": True}
    rates = {"device": {"device": {"measured_tflops": {"bf16": 40.0}, "published_tflops": {"bf16": 50.0, "no": 5.0}}}}
    training = {"plain": row | {"texts_per_second": 2.0}, "fast": row | {"texts_per_second": 20.0}}
    plain, fast = training_rows({"training": training, **rates})
    training["larger batch"] = row | {"texts_per_second": 90.0, "tflops": 45.0, "same_work": False}  # no figure is of this one
    assert (plain["speedup"], fast["speedup"], fast["mfu"], fast["mfu_of_measured"]) == (1, 10, 0.2, 0.25)
    sampling = {
        "ddim, 250 steps": {"solver": "ddim", "seconds": 3.0, "texts": 500},
        "dpm_solver": {"solver": "dpm_solver", "seconds": 1.0, "texts": 500},
        "decoding, greedy": {"strategy": "greedy", "seconds": 1.0, "texts": 500},
    }
    whole = {"2000 steps": {"seconds_per_step": 0.006}}
    assert figures({"training": training, "sampling": sampling, "whole": whole, **rates}) == {
        "minutes_of_80000_steps": pytest.approx(8.0),
        "mfu": 0.2,
        "times_as_fast_as_plain": 10.0,
        "seconds_of_1000_texts": pytest.approx(8.0),
    }
    assert figures({}) == {}
    assert figures({"training": {"fast": training["fast"]}, **rates}) == {"mfu": 0.2}


def test_a_name_that_spans_kernels_is_none() -> None:
    kernel, span = (
        SimpleNamespace(key=key, count=5, device_type="DeviceType.CUDA", self_device_time_total=5000.0, is_user_annotation=named)
        for key, named in (("gemm", False), ("Optimizer.step#AdamW.step", True))
    )
    (row,) = steps.profile_rows([kernel, span], torch.device("cuda"))
    assert row == {"name": "gemm", "calls": 1, "milliseconds": 1, "share": 1}


def test_an_item_that_hangs_does_not_cost_the_others_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def runner(seconds: float, item: Item) -> dict[str, Any]:
        given.append(seconds)
        return {}

    for chained in (False, True):
        fake_part(monkeypatch, f"one {chained}", least=20, chained=chained)
        measure_part("device", setting(tmp_path, device=torch.device("cuda")), Store(tmp_path / "gpu.json", IDENTITY), runner)
    assert given[0] == 80
    assert given[1] > 500


def test_outcomes_of_an_earlier_run_are_not_taken_for_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests.xml").write_text("<testsuites/>")
    monkeypatch.setattr(checks.sys, "executable", "false")  # a pytest that dies without a word
    with pytest.raises(NotMeasuredError, match="pytest ended with status 1"):
        run_tests(tmp_path, tmp_path / "tests.xml", Clock.of_minutes(1))


def test_a_report_of_pytest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="no">.</failure></testcase>'
        '<testcase name="c"><skipped message="no GPU"/></testcase></testsuite></testsuites>'
    )
    counted = outcomes(tmp_path / "tests.xml")
    assert counted == {"passed": 1, "failed": 1, "skipped": 1, "told": {"b": "failed: no", "c": "skipped: no GPU"}}


def test_tests_that_cannot_be_run_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(NotMeasuredError, match="pytest is not installed"):
        run_tests(tmp_path, tmp_path / "tests.xml", Clock.of_minutes(1))

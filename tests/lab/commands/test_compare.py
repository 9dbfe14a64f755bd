"""The command on folders and on commits, from the records to the page."""

import json
from pathlib import Path

import pytest

from annealed_lab.commands import compare as command
from annealed_lm.common.errors import InputError
from support.comparison_records import BUDGETS, LABELS, SEEDS, VARIANTS, parameters, write_record
from support.repositories import commit_all, git, keep_as_experiment, start_repository

OUTPUTS = ("out/c.json", "out/comparison.md", "out/comparison.tex", "out/report.html")
FIGURES = ("means", "differences", "steps_to_target", "curves", "log_snr")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def write_study(folder: Path) -> None:
    for name, (changes, gain) in VARIANTS.items():
        for steps in BUDGETS:
            for seed in SEEDS:
                chosen = {"train_diffusion.num_train_steps": steps, "random_seed": seed, **changes}
                write_record(folder / f"{name}-{steps}-{seed}", chosen, gain)


def run(*arguments: str) -> dict[str, object]:
    outputs = ("--out-json", "out/c.json", "--out-tables", "out", "--out-figures", "out", "--out-page", "out/report.html")
    command.main("lab.py compare", [*arguments, *outputs])
    found: dict[str, object] = json.loads(Path("out/c.json").read_text(encoding="utf-8"))
    return found


def add_experiment(name: str, changes: dict[str, object], gain: float = 0.0) -> None:
    """An experiment as DVC leaves it: a commit on the branch's, and a ref."""
    branch = git("rev-parse", "HEAD")
    write_record(Path.cwd(), changes, gain)
    commit_all(name)
    keep_as_experiment(name, branch)


def test_a_study_in_folders_from_end_to_end(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(project / "study")
    (project / "study/linear-600-2/metrics/training.json").unlink()
    found = run("--folders", "study")
    assert found["variants"] == LABELS
    assert found["left_out"] == [
        "study/linear-600-2 has no metrics/training.json: it did not finish, or is of an earlier version of the pipeline"
    ]
    printed = capsys.readouterr().out
    assert "study/linear-600-2 has no metrics/training.json" in printed
    assert Path("out/comparison.md").read_text(encoding="utf-8") in printed
    assert all(Path(path).is_file() for path in OUTPUTS)
    text = Path("out/report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(FIGURES)
    assert all(Path(f"out/{name}.{form}").is_file() for name in FIGURES for form in ("png", "pdf"))


def test_the_order_of_the_folders_changes_no_byte(project: Path) -> None:
    for seed in (1, 2):
        for name, (changes, gain) in VARIANTS.items():
            write_record(project / f"study/{name}-{seed}", changes | {"random_seed": seed}, gain)
    folders = sorted(map(str, Path("study").iterdir()))
    run("--folders", *folders)
    before = {path: Path(path).read_bytes() for path in OUTPUTS}
    run("--folders", *reversed(folders))
    assert {path: Path(path).read_bytes() for path in OUTPUTS} == before


def test_finished_experiments_are_compared_and_others_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FIGURES", {})  # they take most of the time
    start_repository()
    write_record(project, {})
    branch = commit_all("first")
    add_experiment("mine-normal", {"random_seed": 1})
    add_experiment("mine-linear", {"random_seed": 1, "T_schedule": "linear"}, 0.3)
    add_experiment("other-cosine", {"random_seed": 1, "T_schedule": "cosine"})
    (project / "params.yaml").write_text(json.dumps(parameters({"random_seed": 5})), encoding="utf-8")
    commit_all("failed")
    keep_as_experiment("failed", branch)

    everything = run()
    assert everything["variants"] == ["normal", "cosine", "linear"]
    told = "failed has the numbers of its parent commit although its parameters differ: it did not finish"
    assert everything["left_out"] == [told]
    assert run("--prefix", "mine-")["variants"] == ["normal", "linear"]
    assert run("--experiments", "other-cosine", "mine-linear")["variants"] == ["cosine", "linear"]
    both = run("--experiments", "mine-linear", "--prefix", "mine-")
    assert both["left_out"] == []
    with pytest.raises(InputError, match=r"^failed has the numbers of its parent commit"):
        run("--experiments", "failed")
    with pytest.raises(InputError, match=r"^no finished experiment has a name that begins with 'yours'"):
        run("--prefix", "yours")


def test_a_folder_that_was_named_has_to_be_complete(project: Path) -> None:
    write_record(project / "run", {})
    (project / "run/plots/timing.tsv").unlink()
    with pytest.raises(InputError, match=r"^run has no plots/timing.tsv"):
        run("--folders", "run")


def test_a_figure_of_an_earlier_comparison_does_not_stay(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FIGURES", {"differences": command.FIGURES["differences"]})
    write_record(project / "normal", {})
    write_record(project / "linear", {"T_schedule": "linear"}, 0.3)
    run("--folders", "normal", "linear")
    files = [Path(f"out/differences.{form}") for form in ("png", "pdf")]
    assert all(file.is_file() for file in files)
    run("--folders", "linear")
    assert not any(file.exists() for file in files)


def test_without_any_experiment_the_sentence_says_so(project: Path) -> None:
    start_repository()
    with pytest.raises(InputError, match=r"^no finished experiment has all that a comparison needs: there are none$"):
        run()

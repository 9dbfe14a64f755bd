"""A study on a cluster: what a cluster's file may say, what Slurm is asked, what a node needs, and a job that is interrupted."""

import os
import pickle
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from annealed_lab.studies.clusters import Cluster
from annealed_lab.studies.point_jobs import PointJob, node_environment
from annealed_lab.studies.point_runs import Assignment
from annealed_lab.studies.points import parse
from annealed_lab.studies.slurm import identity, require_no_jobs, submit
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import read_mapping
from support import fake_dvc
from support.fake_dvc import events, git, wait_for
from support.tiny import ROOT

CLUSTER = {
    **{"partition": None, "account": "e99", "qos": None, "minutes": 30, "cpus": 4, "gpus": None, "memory_gb": 8},
    **{"max_parallel": 3, "max_requeues": 5, "seconds_to_save": 120, "options": ["--constraint=fast", "--exclusive"]},
    "setup": ["module load python"],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository, with a stand-in for dvc and an sbatch that keeps its scripts and numbers its jobs."""
    monkeypatch.chdir(tmp_path)
    fake_dvc.install(tmp_path / "bin", monkeypatch)
    programs = {
        "sbatch": 'cp "$1" "script$(ls script* 2>/dev/null | wc -l)"; echo "Submitted batch job $(ls script* | wc -l)"',
        "srun": "exit 1",
        "squeue": "cat jobs",
    }
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text("power: 2\n")
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    git("add", "params.yaml")
    git("commit", "-q", "-m", "first")
    return tmp_path


def cluster(**changes: Any) -> Cluster:
    return parse(Cluster, CLUSTER | changes, "here.yaml")


def assignments(*names: str) -> list[Assignment]:
    environment = identity() | {"PATH": os.environ["PATH"]}  # else the node would find the real dvc
    return [Assignment(name, ("power=3",), Path("runs/size"), git("rev-parse", "HEAD"), environment) for name in names]


@pytest.mark.parametrize("path", sorted((ROOT / "clusters").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid_and_assume_no_partition(path: Path) -> None:
    example = parse(Cluster, read_mapping(path), str(path))
    assert (example.partition, example.account, example.qos) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"partion": "standard"}, "here.yaml: partion is not a known key (did you mean partition?)"),
        ({"cpus": 0}, "here.yaml: cpus = 0: it should be greater than 0"),
        ({"minutes": "2h"}, "here.yaml: minutes = '2h': it should be a valid integer"),
        ({"options": ["constraint=a100"]}, "here.yaml: options.0 = 'constraint=a100': it should match pattern"),
        ({"minutes": 2}, "here.yaml: seconds_to_save = 120 leaves nothing of minutes = 2"),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(told)}"):
        cluster(**changes)


def test_a_key_that_is_missing_is_told() -> None:
    with pytest.raises(InputError, match=r"^here.yaml: qos is missing$"):
        parse(Cluster, {key: value for key, value in CLUSTER.items() if key != "qos"}, "here.yaml")


def test_slurm_gets_the_first_point_and_an_array_of_the_others_that_waits_for_it(project: Path) -> None:
    jobs = submit(assignments("a", "b", "c"), cluster(), "size", first_alone=True)
    assert [job.job_id for job in jobs] == ["1", "2_0", "2_1"]
    first, array = (Path(name).read_text().splitlines() for name in ("script0", "script1"))
    common = [
        *("--account=e99", "--constraint=fast", "--exclusive", "--cpus-per-task=4", "--mem=8GB", "--time=30"),
        *("--job-name=size", "--requeue", "--signal=B:USR2@120", "--open-mode=append"),
    ]
    for script in (first, array):
        assert {f"#SBATCH {option}" for option in common} <= {line.replace("'", "") for line in script}
        assert not [line for line in script if re.search("partition|qos|gpus", line)]
        assert script.index("module load python") < script.index("export SUBMITIT_EXECUTOR=slurm")
        assert script[-1].startswith("exec ")
    assert not [line for line in first if re.search("array|dependency", line)]
    assert {"#SBATCH --array=0-1%2", "#SBATCH --dependency=afterany:1"} <= {*array}


def test_where_the_shared_results_are_there_all_are_one_array(project: Path) -> None:
    submit(assignments("a", "b", "c", "d"), cluster(partition="long", gpus=1), "size", first_alone=False)
    (script,) = (path.read_text() for path in project.glob("script*"))
    assert "#SBATCH --array=0-3%3\n" in script
    assert "#SBATCH --partition=long\n" in script
    assert "#SBATCH --gpus-per-node=1\n" in script


def test_what_slurm_refuses_is_told(project: Path) -> None:
    (project / "bin/sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
    with pytest.raises(InputError, match=r"^Slurm refuses: sbatch: error: invalid partition specified: x$"):
        submit(assignments("a"), cluster(), "size", first_alone=False)


def test_a_study_is_not_submitted_twice_from_one_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("jobs").write_text("12_[0-3] /elsewhere\n")
    require_no_jobs("size", project)
    Path("jobs").write_text(f"12_[0-3] /elsewhere\n14_2 {project}\n")
    with pytest.raises(InputError, match=r"^Slurm still has jobs of size \(14_2\): wait for them, or scancel --name=size$"):
        require_no_jobs("size", project)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"^--slurm: there is no squeue here"):
        require_no_jobs("size", project)


def test_a_node_without_home_gets_folders_of_the_project(tmp_path: Path) -> None:
    present = {"HOME": "/no/such/home", "PATH": "/usr/bin", "SLURM_CPUS_PER_TASK": "6", "HF_HOME": "/no/such/home/hub"}
    made = node_environment(tmp_path, present)
    folders = ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "MPLCONFIGDIR", "DVC_SITE_CACHE_DIR"]
    for name in folders:
        assert Path(made[name]).is_relative_to(tmp_path / "runs/nodes")
        assert Path(made[name]).is_dir()
    assert made["OMP_NUM_THREADS"] == "6"
    assert made["PATH"].endswith(":/usr/bin")


def test_what_is_there_on_a_node_stays(tmp_path: Path) -> None:
    made = node_environment(tmp_path, {"HOME": "/no/such/home", "HF_HOME": str(tmp_path), "TMPDIR": "/no/such/folder"})
    assert not made.keys() & {"HF_HOME", "OMP_NUM_THREADS"}
    assert made.keys() > {"HOME", "TMPDIR"}


def test_the_identity_goes_with_the_jobs(project: Path) -> None:
    assert identity() == {
        **{"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org"},
        **{"GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org"},
    }


def test_jobs_run_points_and_one_that_is_interrupted_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By submitit's executor of this machine, which treats the signal before the time limit as Slurm's does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    Path("behave-b").write_text("fail")
    Path("behave-c").write_text("long")
    jobs = submit(assignments("a", "b", "c"), cluster(), "size", first_alone=True, kind="local")
    wait_for("begun c", 60)
    os.kill(int(Path("parent-c").read_text()), signal.SIGUSR2)
    deadline = time.monotonic() + 60
    while not all(job.paths.result_pickle.exists() for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ended = [pickle.loads(job.paths.result_pickle.read_bytes()) for job in jobs]
    assert [state for state, _ in ended] == ["success", "error", "success"]
    assert "b: failed, see runs/size/b.log" in ended[1][1]
    assert [event for event in events() if event.endswith("c")] == [
        *("start c", "begun c", "interrupted c"),
        *("start c", "begun c", "end c"),
    ]
    assert git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split() == ["a", "c"]


def test_what_a_job_goes_on_with_can_be_sent(project: Path) -> None:
    (work,) = assignments("a")
    again = pickle.loads(pickle.dumps(PointJob(work, project).checkpoint()))
    assert again.function.assignment == work

from __future__ import annotations

import dataclasses
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.fork_server import FORKING, SHARED, forking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from annealed_lm.autoencoder.model import Autoencoder

# The tensors of tests are tiny: threads would only wait for each other. Read when torch is imported, so set before.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cold", action="store_true", help="start Python and DVC anew for each command, as a user does")


def pytest_configure(config: pytest.Config) -> None:
    """In the process that starts the others, make what they share; they find it in their environment."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    shared = ExitStack()
    config.add_cleanup(shared.close)
    folder = Path(shared.enter_context(tempfile.TemporaryDirectory(prefix="tests-")))
    os.environ[SHARED] = str(folder)
    os.environ.pop(FORKING, None)
    if not config.option.cold:
        os.environ[FORKING] = str(shared.enter_context(forking(folder / "forking")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what needs the finished project first: one worker begins there and makes it, and none waits for it meanwhile."""
    items.sort(key=lambda item: not {"project", "finished_project"} & set(getattr(item, "fixturenames", ())))


@pytest.fixture
def no_precision_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What accelerate remembers of a process is forgotten before and after a test, as in a process of its own."""
    from accelerate.state import AcceleratorState

    monkeypatch.delenv("DVC_ROOT", raising=False)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def finished_project() -> Path:
    """A project in which the default experiment and one of another T schedule, `linear`, have run. Tests leave it as it is."""
    from support import projects

    return projects.finished_project()


@pytest.fixture
def project(finished_project: Path, tmp_path: Path) -> Path:
    """A copy of `finished_project` that a test may change."""
    from support.projects import copy_project

    return copy_project(finished_project, tmp_path / "project")


@pytest.fixture(scope="session")
def trained_autoencoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Autoencoder]:
    """By latent layout; they give most of `tiny.TEXTS` back. Tests leave them as they are."""
    # Imported here: tests that need no model start without the model libraries.
    from annealed_lm.autoencoder.tokenizer import tokenize
    from annealed_lm.trainers.autoencoder import train_autoencoder
    from annealed_lm.training.checkpoints import CheckpointStore
    from support import tiny

    training = dataclasses.replace(
        tiny.AUTOENCODER_TRAINING, num_train_steps=100, batch_size=32, learning_rate=0.01, lr_warmup_steps=5
    )
    trained = {}
    for latent_layout in tiny.LAYOUTS:
        autoencoder = tiny.make_autoencoder(latent_layout, width=32)
        token_ids = tokenize(autoencoder.tokenizer, tiny.TEXTS, tiny.MAX_TOKENS)
        store = CheckpointStore(tmp_path_factory.mktemp("resume"))
        train_autoencoder(autoencoder, token_ids, training, store, tiny.CPU)
        trained[latent_layout] = autoencoder
    return trained

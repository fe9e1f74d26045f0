"""Real Haraka, real sink, real Valkey, real worker: one laboratory for each configuration, all at the same time.

Deliveries mostly wait for their retries, so the laboratories run side by side; each test looks at what one of them
left behind.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from haraka.demo.instance import HERE, NODE_MODULES
from tests.haraka.runs import SETUPS, Run, carry_out


@pytest.fixture(scope="session")
def npm_packages() -> None:
    """Install Haraka and the plugin's packages where they are missing."""
    for folder in (HERE, HERE.parent / "plugin"):
        if not (folder / "node_modules").is_dir():
            done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.fail(f"`npm ci` in {folder} failed:\n{done.stderr}", pytrace=False)
    assert (NODE_MODULES / "Haraka").is_dir()


@pytest.fixture(scope="session")
def futures(npm_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    with ThreadPoolExecutor(len(SETUPS)) as pool:
        yield {
            name: pool.submit(carry_out, tmp_path_factory.mktemp("lab"), setup, restart=name == "restart")
            for name, setup in SETUPS.items()
        }


@pytest.fixture
def run_of(futures: Mapping[str, Future[Run]]) -> Callable[[str], Run]:
    """Give the finished run of a configuration."""
    return lambda name: futures[name].result()


@pytest.fixture
def default(run_of: Callable[[str], Run]) -> Run:
    return run_of("default")

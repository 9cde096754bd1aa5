from __future__ import annotations

import ast
import functools
import importlib
import json
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import rlbuffers
import rlbuffers_train

HEAVY = {"torch", "tensorflow", "gymnasium", "ale_py", "cv2", "numba", "h5py", "zarr", "matplotlib"}
SHOW_MODULES = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def run(code):
    """Run code in a fresh interpreter and return its last line."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def modules_after(code):
    return set(json.loads(run(f"{code}\n{SHOW_MODULES}")))


@pytest.mark.parametrize(
    "code",
    [
        "import rlbuffers",
        "from rlbuffers import BufferSpec, ColumnSpec, Episode, Transitions",
        "import rlbuffers_cli.main",
        "from click.testing import CliRunner; from rlbuffers_cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    assert not modules_after(code) & HEAVY


def test_the_command_line_loads_no_numpy_before_a_command_runs():
    assert "numpy" not in modules_after("import rlbuffers_cli.main")


def test_reading_loads_no_other_container_and_no_compiler(tmp_path):
    path = tmp_path / "x.hdf5"
    write = (
        "import numpy, rlbuffers\n"
        "from rlbuffers import BufferSpec, ColumnSpec, Episode\n"
        "columns = [ColumnSpec(name, 'f4') for name in ('observations', 'actions', 'rewards')]\n"
        f"with rlbuffers.create({str(path)!r}, BufferSpec('episodes', columns)) as writer:\n"
        "    one = numpy.ones(3, 'f4')\n"
        "    writer.append_episode(Episode({'actions': one, 'rewards': one}, {'observations': numpy.ones(4, 'f4')}))\n"
    )
    assert not modules_after(write) & (HEAVY - {"h5py"})
    read = f"import rlbuffers\nrlbuffers.open({str(path)!r}).sampler(4).sample()"
    assert not modules_after(read) & (HEAVY - {"h5py"})


def test_the_public_names_are_those_of_all():
    assert set(dir(rlbuffers)) >= set(rlbuffers.__all__)
    for name in rlbuffers.__all__:
        assert getattr(rlbuffers, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rlbuffers.nothing  # noqa: B018


@pytest.mark.parametrize("package", [rlbuffers, rlbuffers_train])
def test_no_module_hides_a_public_function(package):
    """Importing ``rlbuffers.x`` makes it an attribute of the package, under which the function x would be lost."""
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


def module_names():
    return sorted(module.name for module in pkgutil.walk_packages(rlbuffers.__path__, "rlbuffers."))


@pytest.mark.parametrize("name", module_names())
def test_every_module_says_what_is_public(name):
    module = importlib.import_module(name)
    assert module.__doc__
    public = getattr(module, "__all__", [])
    assert len(public) == len(set(public))
    for public_name in public:
        assert hasattr(module, public_name)


def test_every_package_is_installed():
    """The folder `cli` is installed under another name, so packages are listed by hand."""
    root = Path(__file__).parents[2]
    listed = set(tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {"rlbuffers": "rlbuffers", "rlbuffers_train": "rlbuffers_train", "cli": "rlbuffers_cli"}
    found = {
        ".".join([package, *path.parent.relative_to(root / folder).parts])
        for folder, package in folders.items()
        for path in (root / folder).rglob("__init__.py")
    }
    assert listed == found


PACKAGES = {"rlbuffers": "rlbuffers", "rlbuffers_train": "rlbuffers_train", "rlbuffers_cli": "cli"}


def modules_of_the_project():
    root = Path(__file__).parents[2]
    for package, folder in PACKAGES.items():
        for path in (root / folder).rglob("*.py"):
            parts = (package, *path.relative_to(root / folder).with_suffix("").parts)
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(path, known):
    """Every module of the project that a file names in an import: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            below = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            yield from (module if module in known else node.module for module in below.values())


def circles(graph):
    """Return the part of a graph of imports whose names cannot be put in an order, each with what it needs of it."""
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    return {name: needs & left.keys() for name, needs in left.items()}


@functools.cache
def import_graph():
    known = dict(modules_of_the_project())
    return {name: {other for other in imports_of(path, known) if other in known} for name, path in known.items()}


def test_no_modules_import_each_other_in_a_circle():
    assert not circles({name: needs - {name} for name, needs in import_graph().items()})


def test_circles_are_found():
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}).keys() >= {"b", "c"}


def room_of(module):
    """Return the folder of a module in `rlbuffers_train`, or the module itself where it stands in no folder."""
    return ".".join(module.split(".")[:2])


def test_no_folders_of_training_import_each_other_in_a_circle():
    """Neither directly nor through a module that stands beside them."""
    graph = {}
    for name, needs in import_graph().items():
        if name.startswith("rlbuffers_train."):
            below = {room_of(other) for other in needs if other.startswith("rlbuffers_train.")}
            graph[room_of(name)] = graph.get(room_of(name), set()) | below - {room_of(name)}
    folders = {room_of(name) for name in import_graph() if name.count(".") == 2 and name.startswith("rlbuffers_train.")}
    assert {f"rlbuffers_train.{name}" for name in ("running", "playing", "comparing", "off_policy")} <= folders
    assert not circles(graph)

"""The plan of the house, held against the code: ranks, cycles, reachability, sizes, packages, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"lamina": ROOT / "framework", "lamina.datasets": ROOT / "datasets", "lamina.estimators": ROOT / "estimators"}

# Low to high: a module imports its own package or one further left.
ORDER = (
    "core wire state ops random initializers activations regularizers constraints losses metrics optimizers executor "
    "checkpoint graph layers export summary callbacks training models quantization saving backend config "
    "dtype_policies mixed_precision datasets estimators utils cli facade"
).split()
MOST_LINES = 600


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = list(path.relative_to(folder).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


def package_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "facade"


def imports_of(module: str) -> dict[str, bool]:
    """Modules of lamina that `module` imports -> whether at the top of the file."""
    tree = ast.parse(MODULES[module].read_text())
    found: dict[str, bool] = {}

    def add(name: str, top: bool) -> None:
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name and name != module:
            found[name] = found.get(name, False) or top

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    if alias.name.split(".")[0] == "lamina":
                        add(alias.name, top)
            elif isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "lamina":
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    add(full if full in MODULES else child.module or "", top)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            else:
                visit(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    visit(tree, True)
    return found


IMPORTS = {module: imports_of(module) for module in MODULES}


def test_ranks():
    wrong = []
    for module, targets in IMPORTS.items():
        own = package_of(module)
        assert own in ORDER, f"package {own} has no rank"
        for target in targets:
            other = package_of(target)
            if other != own and ORDER.index(other) >= ORDER.index(own):
                wrong.append(f"{module} imports {target}")
    assert not wrong, wrong


def test_datasets_know_core_and_wire_only():
    wrong = [
        f"{module} imports {target}"
        for module, targets in IMPORTS.items()
        if package_of(module) == "datasets"
        for target in targets
        if package_of(target) not in ("core", "wire", "datasets")
    ]
    assert not wrong, wrong


def test_no_import_cycles():
    state: dict[str, int] = {}
    cycles = []

    def visit(module: str, trail: list[str]) -> None:
        state[module] = 1
        for target in IMPORTS[module]:
            # a package's __init__ imports its modules; that alone is no cycle
            if MODULES[target].name == "__init__.py" and module.startswith(target + "."):
                continue
            if state.get(target) == 1:
                cycles.append([*trail[trail.index(target) :], target] if target in trail else [module, target])
            elif target not in state:
                visit(target, [*trail, target])
        state[module] = 2

    for module in MODULES:
        if module not in state:
            visit(module, [module])
    assert not cycles, cycles


def lazy_targets() -> set[str]:
    """The modules that the facade, and packages with lazy tables, name in strings."""
    found = set()
    for module, path in MODULES.items():
        if path.name != "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value.partition(":")[0]
                for candidate in (name, f"lamina.{name}", f"{module}.{name}"):
                    if candidate in MODULES:
                        found.add(candidate)
    return found


def test_every_module_is_reachable():
    seen: set[str] = set()
    todo = ["lamina", "lamina.cli.main", *lazy_targets()]
    while todo:
        module = todo.pop()
        if module in seen or module not in MODULES:
            continue
        seen.add(module)
        todo += IMPORTS[module]
        todo.append(module.rpartition(".")[0])
    assert not sorted(set(MODULES) - seen)


def test_file_sizes():
    long = {m: n for m, p in MODULES.items() if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert not long, long


def test_pyproject_lists_every_package():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = config["tool"]["setuptools"]["packages"]
    tree = sorted(m for m, p in MODULES.items() if p.name == "__init__.py")
    assert sorted(listed) == tree
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    "module, absent",
    [
        ("lamina", ("jax", "numpy")),
        ("lamina.datasets", ("jax", "optax")),
        ("lamina.models", ("lamina.export", "lamina.graph", "h5py", "onnx", "google.protobuf.json_format")),
        ("lamina.estimators.canned.linear", ("lamina.export", "lamina.graph", "onnx", "sklearn", "pandas")),
    ],
)
def test_light_imports(module, absent):
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_wheel_installs_and_holds_every_module(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    copy = tmp_path / "source"
    subprocess.run(
        ["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(copy)], capture_output=True, check=False
    )
    if not (copy / "pyproject.toml").exists():  # not a git checkout, such as an unpacked source archive
        copy = ROOT
    subprocess.run([*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(copy)], check=True)
    installed = {
        ".".join(p.relative_to(tmp_path / "site").with_suffix("").parts).removesuffix(".__init__")
        for p in (tmp_path / "site" / "lamina").rglob("*.py")
    }
    source = {m for m, p in MODULES.items() if (copy / p.relative_to(ROOT)).exists()}
    assert installed == source
    code = "import lamina.datasets.digits as d; print(d.load_data()[0][0].shape)"
    out = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "8, 8" in out.stdout

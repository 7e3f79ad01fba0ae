"""Arrows between modules point one way: what a module imports, at its top or within a function, stands below it."""

import ast
from pathlib import Path

import pytest

import ssnn_py

ROOT = Path(ssnn_py.__file__).parent

#: From the ground to the roof. Modules of one layer do not know each other; `engine` and `experiments` are one room
#: each here.
LAYERS = (
    {"errors", "sketches", "solvers"},
    {"validation", "values"},
    {"interop"},
    {"builders", "components", "optimizers", "spike_trains"},
    {"formulas"},
    {"currents", "diffusions", "drivers", "intensities", "recordings", "synapses"},
    {"models", "network"},
    {"brian2", "slif"},
    {"engine"},
    {"clamping", "continuation", "datasets", "poisson", "signatures", "solver_checks"},
    {"signature_kernels", "simulation"},
    {"losses", "multilevel", "particle_filter", "planning", "recommendation", "unbiased"},
    {"count_losses", "expectations", "gradients", "jax", "likelihoods", "potential_losses", "torch"},
    {"latency_losses", "training_plan"},
    {"diagnosis"},
    {"maximum_likelihood", "training"},
    {"estimator", "plotting", "saving"},
    {"goodness_of_fit", "stored_runs"},
    {"experiments"},
    {"doctor"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {module: height for height, layer in enumerate(LAYERS) for module in layer}

#: The same within `engine`, whose `__init__` declares what engines are and loads them, and within its room `boot`.
ENGINE = (
    {"debian", "device_arrays", "reference_duals", "reference_noise", "reference_signature", "structs", "workers"},
    {"executors", "boot", "driver_paths", "reference_models", "reference_signals"},
    {"reference_paths", "reference_solvers"},
    {"reference"},
    {"julia_functions", "packages"},
    {"julia"},
    {"devices", "sciml"},
)
BOOT = (
    {"choice", "core", "signals", "symbols", "thread"},
    {"cache", "libjulia", "running"},
    {"embedded", "juliacall_host"},
    {"start"},
)


def modules():
    """Every module of the package, as a tuple of names below it, and its file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield (parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(module, top_level_only=False, for_types=False):
    """The modules of the package that a module imports, wherever in its text; those for types alone where they are
    asked for.
    """
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_checkers = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    skipped = {id(inner) for node in for_checkers for inner in ast.walk(node)} if not for_types else set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = [ROOT.name, *package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            names = [[*filter(None, base), alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [[*node.module.split("."), alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == ROOT.name:
                below = tuple(name[1:])
                # What is imported is a module, or something that a module defines.
                yield below if below in MODULES else below[:-1]


def room(module):
    return module[0] if module else ""


def test_every_module_has_its_layer():
    assert {("network",), ("engine",), ("values",)} <= set(imports(("simulation",)))
    assert ("engine", "boot") in set(imports(("engine",))), "within functions, too"
    assert {room(module) for module in MODULES} - {""} == set(HEIGHT)


@pytest.mark.parametrize("module", [module for module in MODULES if module], ids=".".join)
def test_imports_point_down(module):
    for imported in imports(module, for_types=True):
        if imported == ():
            continue  # the package itself, for its version
        if room(imported) != room(module):
            assert HEIGHT[room(imported)] < HEIGHT[room(module)], f"{module} imports {imported}"


@pytest.mark.parametrize(
    ("folder", "layers"), [(("engine",), ENGINE), (("engine", "boot"), BOOT)], ids=["engine", "boot"]
)
def test_imports_point_down_within_a_room(folder, layers):
    depth = len(folder)
    height = {name: height for height, layer in enumerate(layers) for name in layer}
    inside = [module for module in MODULES if module[:depth] == folder and len(module) > depth]
    assert {module[depth] for module in inside} == set(height)
    for module in inside:
        for imported in imports(module, for_types=True):
            if imported[:depth] == folder and len(imported) > depth and imported[depth] != module[depth]:
                assert height[imported[depth]] < height[module[depth]], f"{module} imports {imported}"


def test_no_module_imports_the_package_that_holds_all_of_them():
    assert [module for module in MODULES if module and module != ("__main__",) and () in imports(module)] == []


def test_modules_are_imported_in_an_order_without_a_circle():
    """At module level, where a circle would stop the import. Within a room, its `__init__` loads the engines that
    implement what it declares.
    """
    graph = {module: {name for name in imports(module, top_level_only=True) if name != module} for module in MODULES}
    done, path = set(), []

    def visit(module):
        assert module not in path, f"a circle: {[*path[path.index(module) :], module]}"
        if module in done:
            return
        path.append(module)
        for imported in graph[module]:
            visit(imported)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


#: Who may know how Julia is started: nobody but the engines, and the commands that set it up or look at it.
KNOWS_BOOT = {"cli", "doctor", "engine"}


def test_only_engines_and_the_command_line_know_how_julia_is_started():
    knowing = {room(module) for module in MODULES if any(name[:2] == ("engine", "boot") for name in imports(module))}
    assert knowing <= KNOWS_BOOT

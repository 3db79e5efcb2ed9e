"""The house as CONTRIBUTING shows it: who may import whom, read from the imports themselves."""

import ast
from pathlib import Path

import msgspec
import pytest

from nnunet_prosma.host import schema

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "nnunet_prosma"
STREET = {"prox", "gate_config", "gate", "decoder", "architectures", "trainers"}
"""Each may import those before it; the drawing of what is seen of gates comes with them."""
SPEED = {"fast", "watch"}
SHARED = {"host", "report", "statistics", "std", "files", "errors", "arguments", "progress"}
SHARED |= {"subcommands", "register"}
TOOLS = {"benchmark", "bundle", "compare", "container", "convert", "demo", "inspect", "plan", "study", "warm_start"}
TOOLS |= {"doctor", "metrics", "completion", "smooth"}
ABOVE = {"command", "surface"}
"""What a user calls: the command, and the Python surface. They import any tool."""
NATURAL = {("study", "compare"), ("container", "bundle"), ("bundle", "smooth"), ("inspect", "smooth")}
KNOWS_NNUNET = {"host", "trainers", "architectures"}
"""With the files named *predictor.py and *planner.py."""
FLAT_AT_MOST = 16
LINES_AT_MOST = 300


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file, of the two mapped folders too; extensions and templates are left out."""
    found = {}
    for folder, prefix in (
        (ROOT / PACKAGE, ""),
        (ROOT / "architectures", "architectures."),
        (ROOT / "trainers", "trainers."),
    ):
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if {"extension", "template"} & set(parts):
                continue
            found[(prefix + ".".join(parts)).removesuffix(".__init__").removesuffix("__init__").rstrip(".")] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """What the file imports, anywhere in it but under TYPE_CHECKING: full dotted names."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def ours(names: set[str]) -> set[str]:
    """Our modules among these names, without the package's name before them."""
    return {name for full in names if (name := full.removeprefix(f"{PACKAGE}.")) in MODULES and full != name}


def part(module: str) -> str:
    return module.partition(".")[0]


GRAPH = {module: ours(imports(path)) - {module} for module, path in MODULES.items()}
PARTS = {part(module) for module in MODULES if module}


def test_every_part_of_the_package_has_its_place():
    assert PARTS - {"__main__"} <= STREET | SPEED | SHARED | TOOLS | ABOVE


def test_the_street_imports_no_tool():
    wrong = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if part(module) in STREET | SPEED and part(other) in TOOLS | ABOVE
    ]
    assert wrong == []


def test_what_is_shared_imports_no_tool():
    wrong = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if part(module) in SHARED and part(other) in TOOLS | ABOVE
    ]
    assert wrong == []


def test_tools_import_no_other_tool_but_where_one_naturally_serves_another():
    wrong = [
        (module, other)
        for module, others in GRAPH.items()
        for other in others
        if part(module) in TOOLS
        and part(other) in TOOLS | ABOVE
        and part(module) != part(other)
        and (part(module), part(other)) not in NATURAL
    ]
    assert wrong == []


def test_only_the_host_and_what_nnunet_builds_itself_import_nnunet():
    wrong = [
        module
        for module, path in MODULES.items()
        if part(module) not in KNOWS_NNUNET
        and not module.endswith(("predictor", "planner"))
        and any(part(name) == "nnunetv2" for name in imports(path))
    ]
    assert wrong == []


SHARED_WORDS = {"dataset", "configuration", "images", "label", "train", "val", "spacing", "patch_size", "batch_size"}
SHARED_WORDS |= {"reference", "description", "licence", "license"}
"""Keys that files of our own have too: a study, a bundle's manifest, a report. The others are nnU-Net's alone."""


def keys_of_nnunet() -> set[str]:
    """Of all its files that the host describes; debug.json has none that is relied on, and is shown as it is."""
    kinds = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    keys = {field.encode_name for kind in kinds if kind is not msgspec.Struct for field in msgspec.structs.fields(kind)}
    return (keys | {"network_weights", "optimizer_state", "foreground_mean", "strides", "n_stages"}) - SHARED_WORDS


def keys_read(path: Path, keys: set[str]) -> list[str]:
    """Keys that the file looks up by subscript, get, pop, setdefault or in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript):
            key = node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            key = node.args[0] if node.func.attr in ("get", "pop", "setdefault") else None
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            key = node.left
        if isinstance(key, ast.Constant) and key.value in keys:
            found.append(f"{path}:{key.lineno} {key.value}")
    return found


def test_only_the_host_and_what_nnunet_builds_itself_read_a_key_of_its_files():
    keys = keys_of_nnunet()
    assert {"configurations", "arch_kwargs", "labels", "metric_per_case", "init_args", "shapes_after_crop"} <= keys
    wrong = [
        place
        for module, path in MODULES.items()
        if part(module) not in KNOWS_NNUNET and not module.endswith(("predictor", "planner"))
        for place in keys_read(path, keys)
    ]
    assert wrong == []


def test_a_key_is_seen_however_it_is_looked_up(tmp_path):
    looked_up = 'a["labels"]; b.get("modality", {}); "configurations" in c; d["x"]["arch_kwargs"] = 1; e["dataset"]\n'
    file = tmp_path / "tool.py"
    file.write_text(looked_up)
    seen = [place.split()[-1] for place in keys_read(file, keys_of_nnunet())]
    assert sorted(seen) == ["arch_kwargs", "configurations", "labels", "modality"]


def test_nothing_imports_in_a_circle():
    """While it is imported: what stands in a function is imported when it is called."""
    graph = {module: ours(at_import(path)) - {module} for module, path in MODULES.items()}
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in graph[module]:
                follow(other, (*way, module))
            done.add(module)

    for module in graph:
        follow(module, ())


def at_import(path: Path) -> set[str]:
    """The names that a from-import takes of a package are its modules only where they are modules."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in below if name.removeprefix(f"{PACKAGE}.") in MODULES}
            found |= known if known == below else known | {str(node.module)}
    return found


def test_at_most_sixteen_modules_lie_flat():
    flat = [path.name for path in (ROOT / PACKAGE).glob("*.py") if path.name != "__init__.py"]
    assert len(flat) <= FLAT_AT_MOST, sorted(flat)


@pytest.mark.parametrize("folder", [PACKAGE, "architectures", "trainers"])
def test_no_file_is_longer_than_a_reader_can_hold(folder):
    long = {
        str(p.relative_to(ROOT)): n
        for p in (ROOT / folder).rglob("*.py")
        if (n := len(p.read_text().splitlines())) > LINES_AT_MOST
    }
    assert not long

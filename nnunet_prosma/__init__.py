"""ProSMA gates on the skips of the U-Net that nnU-Net v2 configures. Importing this package loads nothing heavy."""

__version__ = "0.2.0.dev0"

TYPE_CHECKING = False  # type checkers take it as true; the module typing is not imported at each start of Python
if TYPE_CHECKING:
    from nnunet_prosma.gate import GateConfig, GateFields
    from nnunet_prosma.surface import Comparison, gated_network, look, open_trained, read_comparison

_AT = {
    "GateConfig": "gate",
    "GateFields": "gate",
    "Comparison": "surface",
    "gated_network": "surface",
    "look": "surface",
    "open_trained": "surface",
    "read_comparison": "surface",
}

__all__ = [
    "Comparison",
    "GateConfig",
    "GateFields",
    "gated_network",
    "look",
    "open_trained",
    "read_comparison",
]


def __getattr__(name: str) -> object:
    """The names of __all__, each imported when it is asked for (PEP 562)."""
    if name not in _AT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_AT[name]}"), name)
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]

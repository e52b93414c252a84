"""A user's own search space: a class or function that builds a model, by reference or as it is, or a model itself.

The options of a class or function are its parameters: values are checked against their annotations, and an unknown
option is refused. A parameter that is named ``info`` or annotated ``DataInfo`` receives the shape of the data. Given as
a class or function, a space is built anew whenever a network is needed, so that the seed covers its weights, and
another process can build it, too.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import PydanticUserError, TypeAdapter, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from nasreg.config.sources import SpaceSource
from nasreg.errors import NasregError, PluginError, SpaceError, one_line
from nasreg.specs.base import Config, resolve
from nasreg.specs.data import DataInfo
from nasreg.specs.references import CodeRef, ObjectRef

if TYPE_CHECKING:
    from torch import nn


def import_code(reference: CodeRef, where: str, import_path: str | None = None) -> Any:
    """Import a user's class or function.

    Args:
        reference: Where it is; the current directory is importable.
        where: What it is, for the error.
        import_path: Another directory to import its module from, if it is not found otherwise.

    Raises:
        SpaceError: It cannot be imported.
    """
    try:
        if reference.path is not None:
            return _attribute(_module_of_file(Path(reference.path)), reference.attribute)
        _add_to_path(str(Path.cwd()), first=True)
        if import_path is not None and _is_missing(reference.module):
            _add_to_path(import_path, first=False)
        return resolve(reference.text, where.partition(" ")[0])
    except PluginError as error:
        raise SpaceError(" ".join(str(error).split())) from error.__cause__
    except NasregError:
        raise
    except Exception as error:
        raise SpaceError(f"{where} cannot be loaded: {one_line(error)}") from error


def space_from_code(reference: CodeRef, import_path: str | None = None) -> SpaceSource:
    """Import a user's class or function; takes and raises as ``import_code``.

    Raises:
        SpaceError: It cannot be imported, or a parameter cannot be an option.
    """
    where = f"space {reference.text!r}"
    return _source(import_code(reference, where, import_path), reference, where)


def space_from_callable(factory: Callable[..., Any]) -> SpaceSource:
    """Return the source of a class or function given from Python.

    Its reference is one that another process can follow, if it is defined at the top level of a module or a script.

    Raises:
        SpaceError: It takes no arguments that can be options.
    """
    reference = _reference_of(factory)
    return _source(factory, reference, f"space {getattr(factory, '__qualname__', reference.text)!r}")


def space_from_module(model: nn.Module) -> SpaceSource:
    """Return the source of a model given from Python: each build is a copy of it as it is now.

    Raises:
        SpaceError: The model cannot be copied.
    """
    label = type(model).__name__
    try:
        original = copy.deepcopy(model)
    except Exception as error:
        raise SpaceError(
            f"the model {label} cannot be copied ({one_line(error)}): give the class or a function that builds it"
            f" instead, such as nasreg.search({label}, data)"
        ) from error
    rebuild = (space_from_module, (original,))
    return SpaceSource(
        ObjectRef(label), Config, lambda info, config: copy.deepcopy(original), instance=True, rebuild=rebuild
    )


def _source(factory: Any, reference: CodeRef | ObjectRef, where: str) -> SpaceSource:
    parameters = _parameters(factory, where)
    info_names = [p.name for p in parameters if p.name == "info" or p.annotation is DataInfo]
    config = _config(factory, [p for p in parameters if p.name not in info_names], where)

    def build(info: DataInfo, options: Config) -> Any:
        values = {name: getattr(options, name) for name in config.model_fields}
        try:
            return factory(**dict.fromkeys(info_names, info), **values)
        except NasregError:
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise SpaceError(
                f"{where}: {type(error).__name__} at {last.filename}:{last.lineno}: {' '.join(str(error).split())}"
            ) from error

    import_path = _import_path(reference)
    again = (
        (space_from_callable, (factory,))
        if isinstance(reference, ObjectRef)
        else (space_from_code, (reference, import_path))
    )
    return SpaceSource(reference, config, build, import_path=import_path, rebuild=again)


def _parameters(factory: Any, where: str) -> list[inspect.Parameter]:
    try:
        found = list(inspect.signature(factory, eval_str=True).parameters.values())
    except Exception as error:
        raise SpaceError(f"{where} cannot be called: {one_line(error)}") from error
    unnamed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [parameter for parameter in found if parameter.kind not in unnamed]


def _config(factory: Any, parameters: list[inspect.Parameter], where: str) -> type[Config]:
    fields: dict[str, Any] = {}
    for parameter in parameters:
        name, annotation = parameter.name, parameter.annotation
        reserved = name == "name" or name[0] == "_" or hasattr(Config, name)
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY or reserved:
            raise SpaceError(f"{where}: parameter {name!r} cannot be an option: rename it or pass it by keyword")
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        if annotation is inspect.Parameter.empty:
            annotation = type(default) if isinstance(default, bool | int | float | str) else Any
        try:
            TypeAdapter(annotation)
            to_jsonable_python(None if default is ... else default)
        except (PydanticUserError, PydanticSerializationError) as error:
            raise SpaceError(
                f"{where}: parameter {name!r} cannot be an option, since a file cannot hold its value:"
                " use numbers, text, lists or mappings. The shape of the data comes in a parameter named 'info'"
            ) from error
        fields[name] = (annotation, default)
    title = f"{getattr(factory, '__name__', 'Custom').title()}Options"
    model: type[Config] = create_model(title, __base__=Config, __module__=__name__, **fields)
    return model


def _reference_of(factory: Any) -> CodeRef | ObjectRef:
    module, name = getattr(factory, "__module__", None), getattr(factory, "__qualname__", None)
    label = str(getattr(factory, "__name__", type(factory).__name__)).replace("<", "").replace(">", "")
    if not isinstance(module, str) or not isinstance(name, str):
        return ObjectRef(label)
    here: Any = sys.modules.get(module)
    if here is None or _found(here, name) is not factory:
        return ObjectRef(label)
    if module == "__main__":
        file = getattr(here, "__file__", None)
        return CodeRef(None, str(Path(file).absolute()), name) if file else ObjectRef(label)
    return CodeRef(module, None, name)


def _import_path(reference: CodeRef | ObjectRef) -> str | None:
    """Return the directory that the top-level package or module of a reference was imported from."""
    if isinstance(reference, ObjectRef) or reference.module is None:
        return None
    top = sys.modules.get(reference.module.partition(".")[0])
    file = getattr(top, "__file__", None)
    if file is None:
        return None
    folder = Path(file).absolute().parent
    return str(folder.parent if Path(file).name == "__init__.py" else folder)


def _module_of_file(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) is not None and Path(str(main.__file__)).absolute() == path:
        return main
    if not path.is_file():
        raise SpaceError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SpaceError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # so that classes defined in it can be pickled
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str) -> Any:
    found = _found(module, name)
    if found is None:
        raise SpaceError(f"{module.__file__} defines no {name}")
    return found


def _found(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _is_missing(module: str | None) -> bool:
    return module is not None and importlib.util.find_spec(module.partition(".")[0]) is None


def _add_to_path(folder: str, *, first: bool) -> None:
    if folder not in sys.path:
        sys.path.insert(0 if first else len(sys.path), folder)

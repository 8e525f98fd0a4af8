"""Import of plugins: Python files of the user, which register components."""

import hashlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from nmt.errors import UserError
from nmt.files import MAX_PLUGIN_BYTES, exists, read_regular

# The prefix keeps a plugin from replacing a module of the same name.
PREFIX = "nmt_plugin_"
_DIGEST = "__nmt_digest__"


def import_plugin(file: Path, location: str) -> None:
    """Run a Python file, which registers its components.

    Args:
        file: the file
        location: file and line of the experiment file that names it

    Raises:
        UserError: if it cannot be read or fails, with the line of the plugin that fails
    """
    try:
        if not exists(file):
            raise UserError(f"not found: {file}")
        source = read_regular(file, max_bytes=MAX_PLUGIN_BYTES)
    except UserError as error:
        raise UserError(f"plugins: {error}", location) from None
    if file.suffix != ".py":
        raise UserError(f"plugins: {file} is not a Python file; its name must end in .py", location)
    name, digest = f"{PREFIX}{file.stem}", hashlib.sha256(source).hexdigest()
    imported = sys.modules.get(name)
    if (getattr(imported, "__file__", None), getattr(imported, _DIGEST, None)) == (
        str(file),
        digest,
    ):
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    setattr(module, _DIGEST, digest)
    sys.modules[name] = module  # before execution, as `import` does, for pickle and dataclasses
    try:
        # Not by the loader of the specification, which would run a compiled file next to this one.
        _run(module, compile(source, str(file), "exec"))
    except KeyboardInterrupt:
        raise
    # The file is the user's and may raise anything, SystemExit included.
    except BaseException as error:
        del sys.modules[name]
        reason = error.message if isinstance(error, UserError) else _describe(error)
        message = f"{reason} (a plugin of {location})"
        raise UserError(message, failing_line(error, {str(file)}) or str(file)) from error


def _run(module: ModuleType, code: CodeType) -> None:
    exec(code, module.__dict__)


def plugin_line(error: BaseException) -> str:
    """Return `FILE:LINE` of the deepest line of a plugin in a traceback; empty without plugins."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(PREFIX)]
    return failing_line(error, {str(module.__file__) for module in modules})


def failing_line(error: BaseException, files: set[str]) -> str:
    """Return `FILE:LINE` of the deepest line of some files in a traceback; empty without any."""
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}:{error.lineno}"
    found = ""
    trace: TracebackType | None = error.__traceback__
    for frame, line in traceback.walk_tb(trace):
        if frame.f_code.co_filename in files:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def _describe(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"ends the program (SystemExit: {error.code})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

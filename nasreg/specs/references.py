"""References to search spaces and data sets: the name of a registered one, the user's code, or a Python object.

``parse_reference`` turns the text of the command line and of ``run.yaml`` into one of three frozen classes, so that no
other module has to look for a colon in a name:

=================  ================================================  ==================================
class              text                                              refers to
=================  ================================================  ==================================
``RegisteredRef``  ``darts``, ``nasreg-darts/darts``                 an entry of the registry
``CodeRef``        ``package.module:name``, ``folder/file.py:name``  a class or function of the user
``ObjectRef``      ``python:Net``                                    an object passed to a Python call
=================  ================================================  ==================================

The short form ``folder:PATH`` of a data set is replaced by the name ``folder`` before references are parsed.
Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nasreg.errors import ConfigError

OBJECT = "python:"
"""Prefix of a reference to a Python object, which no other process can find."""

_NAME = re.compile(r"[^\s/:\\]+")
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_FORMS = "a registered name, DISTRIBUTION/NAME, package.module:NAME or folder/file.py:NAME"


@dataclass(frozen=True)
class RegisteredRef:
    """A reference to an entry of the registry, unambiguous where the distribution is given.

    Raises:
        ConfigError: The name or the distribution is malformed.
    """

    name: str
    distribution: str | None = None

    def __post_init__(self) -> None:
        valid_distribution = self.distribution is None or _DISTRIBUTION.fullmatch(self.distribution)
        if not (_NAME.fullmatch(self.name) and self.name.isprintable() and valid_distribution):
            raise _malformed(self.text)
        if self.name.endswith(".py"):
            raise ConfigError(f"{self.text!r} is a file: name the class or function in it, as in {self.text}:NAME")

    @property
    def text(self) -> str:
        """The canonical text."""
        return self.name if self.distribution is None else f"{self.distribution}/{self.name}"

    @property
    def title(self) -> str:
        """The short form for people."""
        return self.name


@dataclass(frozen=True)
class CodeRef:
    """A reference to a class or function, in an importable module or in a file.

    Attributes:
        module: Dotted name of the module; None where a file is given.
        path: Path of a ``.py`` file; None where a module is given.
        attribute: Name in the module or file, dotted for a nested one.

    Raises:
        ConfigError: A part is malformed, or not exactly one of ``module`` and ``path`` is given.
    """

    module: str | None
    path: str | None
    attribute: str

    def __post_init__(self) -> None:
        if (self.module is None) == (self.path is None):
            raise ConfigError(f"a reference to {self.attribute!r} needs either a module or a file")
        valid = _is_dotted_name(self.attribute)
        if self.module is not None:
            # "python:" is the prefix of objects, and "x.py:" that of a file.
            valid = valid and _is_dotted_name(self.module) and self.module != "python" and self.module[-3:] != ".py"
        if self.path is not None:
            valid = valid and _is_python_file(self.path)
        if not valid:
            raise _malformed(self.text)

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"{self.path if self.module is None else self.module}:{self.attribute}"

    @property
    def title(self) -> str:
        """The short form for people: the last part of the attribute."""
        return self.attribute.rpartition(".")[2]


@dataclass(frozen=True)
class ObjectRef:
    """A record that a Python object was given; nothing but the same call can provide it again.

    Attributes:
        label: Name of the class of the object.

    Raises:
        ConfigError: The label is empty, has a colon, or cannot be printed on one line.
    """

    label: str

    def __post_init__(self) -> None:
        if not _is_one_line(self.label) or ":" in self.label:
            raise _malformed(self.text)

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"{OBJECT}{self.label}"

    @property
    def title(self) -> str:
        """The short form for people."""
        return self.label


def parse_reference(text: str) -> RegisteredRef | CodeRef | ObjectRef:
    """Parse a reference to a search space or a data set.

    Args:
        text: A name, ``DISTRIBUTION/NAME``, ``package.module:NAME``, ``folder/file.py:NAME`` or ``python:LABEL``.

    Returns:
        The reference; ``parse_reference(reference.text)`` equals it.

    Raises:
        ConfigError: The text has none of these forms.
    """
    if text.startswith(OBJECT):
        return ObjectRef(text.removeprefix(OBJECT))
    location, colon, attribute = text.rpartition(":")
    if not colon:
        distribution, slash, name = text.partition("/")
        return RegisteredRef(name, distribution) if slash else RegisteredRef(text)
    if not location or not attribute:
        raise _malformed(text)
    if location.endswith(".py"):
        return CodeRef(None, location, attribute)
    return CodeRef(location, None, attribute)


def reference_title(text: str) -> str:
    """Return the short form of a reference for people; the text itself if it is malformed."""
    try:
        return parse_reference(text).title
    except ConfigError:
        return text


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_python_file(path: str) -> bool:
    return path.endswith(".py") and _is_one_line(path) and not path.startswith(OBJECT)


def _is_one_line(text: str) -> bool:
    return bool(text) and text.isprintable() and text == text.strip()


def _malformed(text: str) -> ConfigError:
    return ConfigError(f"{text!r} is no reference: expected {_FORMS}")

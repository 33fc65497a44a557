"""YAML text to frozen values, or every mistake with its place."""

from hbd.config.files import load
from hbd.config.model import ConfigError, Configuration, Loaded, Problem

__all__ = ["ConfigError", "Configuration", "Loaded", "Problem", "load"]

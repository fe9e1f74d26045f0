"""Typed settings from accounting_files.ini, the command line and the environment."""

from config.loader import Loaded, Report, check, load
from config.places import Purpose
from config.problem import ConfigError, Problem

__all__ = ["ConfigError", "Loaded", "Problem", "Purpose", "Report", "check", "load"]

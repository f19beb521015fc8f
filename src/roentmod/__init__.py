"""Edit findings in chest radiographs, and audit and retrain the classifiers that read them."""

from roentmod.edits import Edit
from roentmod.errors import RoentModError
from roentmod.findings import FINDINGS, Finding, finding
from roentmod.radiograph import Radiograph

__all__ = ["FINDINGS", "Edit", "Finding", "Radiograph", "RoentModError", "finding"]
__version__ = "0.1.0"

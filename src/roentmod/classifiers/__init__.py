"""Classifiers: readers of findings in radiographs. `load` is the door to every one."""

from roentmod.classifiers.adapter import Adapter, Described
from roentmod.classifiers.bundled.recogniser import Recogniser
from roentmod.classifiers.checks import NotFiniteError, Reading, constant_heads, read
from roentmod.classifiers.heads import Head, table
from roentmod.classifiers.judge import Judge
from roentmod.classifiers.loading import DEMO, FORMS, load
from roentmod.classifiers.probe import Embedder, fit_probe, load_embedder

__all__ = [
    "DEMO",
    "FORMS",
    "Adapter",
    "Described",
    "Embedder",
    "Head",
    "Judge",
    "NotFiniteError",
    "Reading",
    "Recogniser",
    "constant_heads",
    "fit_probe",
    "load",
    "load_embedder",
    "read",
    "table",
]

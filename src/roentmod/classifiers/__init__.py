"""Classifiers: what reads findings in radiographs."""

from roentmod.classifiers.judge import Judge

__all__ = ["Judge"]

"""Everything a verb can be given, each parameter once: name, default, bounds, description.

Command lines, study files, their JSON schema and the signatures of the verbs follow from these.
"""

from __future__ import annotations

from roentmod.plans.audit import AuditPlan, Doses, Rules
from roentmod.plans.augment import AugmentPlan, Labelling, Policy
from roentmod.plans.base import Plan
from roentmod.plans.editing import EditPlan
from roentmod.plans.parts import EditorChoice, Operating, Selection
from roentmod.plans.plant import PlantPlan
from roentmod.plans.readers import ReadersPlan
from roentmod.plans.repair import RepairPlan
from roentmod.plans.retrain import ARMS, RetrainPlan, Task
from roentmod.plans.validate import Rule, ValidatePlan

__all__ = [
    "ARMS",
    "AuditPlan",
    "AugmentPlan",
    "Doses",
    "EditPlan",
    "EditorChoice",
    "Labelling",
    "Operating",
    "Plan",
    "PlantPlan",
    "Policy",
    "ReadersPlan",
    "RepairPlan",
    "RetrainPlan",
    "Rule",
    "Rules",
    "Selection",
    "Task",
    "ValidatePlan",
]

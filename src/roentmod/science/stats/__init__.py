"""Statistics of paired edits: areas under the curve, resampling of patients, and tests.

Rows are patients, who are the unit of resampling. Equal arguments give equal results. What the data
cannot tell (no patients, one group) is NaN; what cannot be meant is an `AuditError`.
"""

from roentmod.science.stats.areas import (
    DeLong,
    auc,
    auc_difference_shared_positives,
    clustered_auc_interval,
    delong,
    delong_interval,
    delong_paired,
    resampled_auc,
    structural_components,
    weighted_auc,
)
from roentmod.science.stats.means import mean_interval, share_interval, wilson
from roentmod.science.stats.resampling import (
    bootstrap_means,
    draw_blocks,
    draws,
    interval,
    normal_quantile,
    percentile_interval,
    ratio,
    resampled_means,
)
from roentmod.science.stats.testing import (
    benjamini_hochberg,
    holm,
    interaction,
    sign_flip,
    sign_flip_columns,
    step_down,
    trend,
)

__all__ = [
    "DeLong",
    "auc",
    "auc_difference_shared_positives",
    "benjamini_hochberg",
    "bootstrap_means",
    "clustered_auc_interval",
    "delong",
    "delong_interval",
    "delong_paired",
    "draw_blocks",
    "draws",
    "holm",
    "interaction",
    "interval",
    "mean_interval",
    "normal_quantile",
    "percentile_interval",
    "ratio",
    "resampled_auc",
    "resampled_means",
    "share_interval",
    "sign_flip",
    "sign_flip_columns",
    "step_down",
    "structural_components",
    "trend",
    "weighted_auc",
    "wilson",
]

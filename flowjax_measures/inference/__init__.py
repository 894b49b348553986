"""What snapshots tell without a run: couplings between them, velocities, and what fits these."""

from ._compare import Comparison as Comparison, compare as compare
from ._couplings import Couplings as Couplings, couple as couple
from ._log_likelihood import log_likelihood as log_likelihood
from ._read import (
    from_anndata as from_anndata,
    from_arrays as from_arrays,
    from_table as from_table,
    from_xarray as from_xarray,
)
from ._regress import (
    Regression as Regression,
    regress as regress,
    velocity_error as velocity_error,
)
from ._score_error import ScoreError as ScoreError, score_error as score_error
from ._self_test import self_test as self_test
from ._slope import Slope as Slope
from ._transformer import Transformer as Transformer, read_transformer as read_transformer
from ._two_samples import (
    Evaluation as Evaluation,
    TwoSampleTest as TwoSampleTest,
    evaluate as evaluate,
    two_sample_test as two_sample_test,
)

"""One case of nnU-Net's, smoothed: labels that exclude each other together, regions one by one."""

from collections.abc import Mapping

import numpy as np

from nnunet_prosma.host.plans import Setup
from nnunet_prosma.host.probabilities import SoftCase, channels_of, hardened, has_regions
from nnunet_prosma.smooth.dynamics import Prior, smooth
from nnunet_prosma.smooth.settings import Smoothing


def smoothed(case: SoftCase, setup: Setup, smoothing: Smoothing) -> np.ndarray:
    """(*S), as SMOOTH.json says: what apply, predict, the container and inspect give."""
    return smoothed_labels(case, setup, smoothing.priors, eps=smoothing.eps, iterations=smoothing.iterations)


def smoothed_labels(
    case: SoftCase, setup: Setup, priors: Mapping[str, Prior], *, eps: float = 1.0, iterations: int = 10
) -> np.ndarray:
    """(*S). priors by the label as text. Where nothing is asked it is nnU-Net's own segmentation."""
    channels = [str(label) for label in channels_of(setup)]
    asked = {channels.index(label): prior for label, prior in priors.items() if not prior.idle}
    if not asked:
        return case.labels
    if not has_regions(setup):
        return hardened(smooth(case.p, case.spacing_mm, asked, eps=eps, iterations=iterations), setup)
    u = case.p.copy()
    for i, prior in asked.items():
        alone = np.stack([1 - case.p[i], case.p[i]])
        u[i] = smooth(alone, case.spacing_mm, {1: prior}, eps=eps, iterations=iterations)[1]
    return hardened(u, setup)

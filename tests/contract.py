"""The public functions that take measures, with a small call each: what `test_contract.py` holds.

An entry is a function of two measures to numbers; those of one measure leave out the second. What
a function cannot keep, and why, is said in its `without`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp

import flowjax_measures as fm


class Entry(NamedTuple):
    """A call, and the properties that do not hold for it, each with the reason."""

    call: Callable[[Any, Any], Any]
    without: Mapping[str, str] = MappingProxyType({})
    both: bool = True
    degree: float | None = 0
    """All masses times c multiply the value by c^degree; `None` is a law of its own."""


def potential(x):
    return jnp.sum(x**2) / 2 + jnp.sum(jnp.sin(x))


KERNEL = fm.GaussianKernel(0.8)
DIRECTIONS = ((1.0, 0.0), (0.6, 0.8), (-0.28, 0.96))
COUNT = {"gradient": "a count"}
PLAN = {"gradient": "a plan has no derivative", "split": "of other atoms", "permuted": "of atoms"}
PLACE = {"moved": "asked at a place"}
USER = {"moved": "a potential of the user", "tree": "a potential of vectors"}
ASKED = {"moved": "asked at a place", "tree": "asked at a vector"}
COORDINATES = {"torus": "a covariance of coordinates, as the docstring says"}
VECTORS = {"moved": "products of vectors"}


def one(call, without=MappingProxyType({}), degree: float | None = 0) -> Entry:
    return Entry(lambda mu, nu: call(mu), without, both=False, degree=degree)


def energy(make) -> Entry:
    return Entry(lambda mu, nu: make(nu)(mu))


def along(mu):
    return jnp.asarray(DIRECTIONS, mu.atoms()[1].dtype)


def at(mu):
    return jnp.array([0.1, 0.2], mu.atoms()[1].dtype)


CONTRACT: dict[str, Entry] = {
    # Distances and divergences of two measures.
    "wasserstein": Entry(fm.wasserstein),
    "wasserstein p=1": Entry(lambda mu, nu: fm.wasserstein(mu, nu, 1)),
    "sliced_wasserstein": Entry(lambda mu, nu: fm.sliced_wasserstein(mu, nu, along(mu))),
    "sinkhorn_divergence": Entry(lambda mu, nu: fm.sinkhorn_divergence(mu, nu, 0.5)),
    "entropic_cost": Entry(lambda mu, nu: fm.entropic_cost(mu, nu, 0.5)),
    "unbalanced_sinkhorn_divergence": Entry(
        lambda mu, nu: fm.unbalanced_sinkhorn_divergence(mu, nu, 0.5), degree=None
    ),
    "energy_distance": Entry(fm.energy_distance),
    "mmd": Entry(lambda mu, nu: fm.mmd(mu, nu, KERNEL)),
    "hellinger_kantorovich": Entry(fm.hellinger_kantorovich, degree=0.5),
    "unbalanced_transport": Entry(lambda mu, nu: fm.unbalanced_transport(mu, nu).value, degree=1),
    "mccann": Entry(lambda mu, nu: fm.mccann(mu, nu, 0.3).covariance(), COORDINATES),
    "coupling": Entry(fm.coupling, PLAN, degree=1),
    "entropic_coupling": Entry(lambda mu, nu: fm.entropic_coupling(mu, nu, 0.5), PLAN, degree=1),
    "entropic_map": Entry(lambda mu, nu: fm.entropic_map(mu, nu, 0.5)(at(mu)), PLACE),
    # Energies.
    "PotentialEnergy": one(fm.PotentialEnergy(potential), USER, 1),
    "InteractionEnergy": one(fm.InteractionEnergy(KERNEL), degree=2),
    "KernelEntropy": one(fm.KernelEntropy(KERNEL), degree=None),
    "MMD": energy(lambda nu: fm.MMD(nu, KERNEL)),
    "SlicedWasserstein": energy(lambda nu: fm.SlicedWasserstein(nu, along(nu))),
    "SinkhornDivergence": energy(lambda nu: fm.SinkhornDivergence(nu, 0.5)),
    "KernelSteinDiscrepancy": one(fm.KernelSteinDiscrepancy(potential, KERNEL), USER),
    "ksd": one(lambda mu: fm.ksd(mu, potential, KERNEL), USER),
    # What is read off one measure.
    "mean": one(lambda mu: mu.mean(), VECTORS),
    "covariance": one(
        lambda mu: mu.covariance(), {"torus": "of the coordinates, as its docstring says"}
    ),
    "logmean": one(lambda mu: mu.logmean(potential), USER, None),
    "interaction_energy": one(lambda mu: fm.interaction_energy(mu, 1.5), VECTORS, 2),
    "order_parameter": one(fm.order_parameter, VECTORS),
    "dispersion": one(fm.dispersion),
    "attention_entropy": one(lambda mu: fm.attention_entropy(mu, 1.5), VECTORS),
    "number_of_clusters": one(lambda mu: fm.number_of_clusters(mu, 0.4), COUNT),
    "soft_number_of_clusters": one(lambda mu: fm.soft_number_of_clusters(mu, 0.4)),
    # Systems, asked by hand for the velocity of a point of their own.
    "SelfAttention": one(lambda mu: _rate(fm.SelfAttention(beta=2.0), mu), ASKED),
    "L2Attention": one(lambda mu: _rate(fm.L2Attention(beta=2.0), mu), ASKED),
    "ConsensusBased": one(lambda mu: _rate(fm.ConsensusBased(potential, alpha=3.0), mu), ASKED),
    "McKeanVlasov": one(lambda mu: _rate(fm.McKeanVlasov(potential, KERNEL, beta=None), mu), ASKED),
    "GradientFlow(MMD)": Entry(
        lambda mu, nu: _rate(fm.GradientFlow(fm.MMD(nu, KERNEL)), mu), ASKED, degree=-1
    ),
    "GradientFlow(KL, Stein)": one(
        lambda mu: _rate(fm.GradientFlow(fm.KL(potential), fm.Stein(KERNEL)), mu), ASKED
    ),
}


def _rate(system, mu):
    return system.rates(0.0, jnp.array([0.2, -0.4], mu.atoms()[1].dtype), mu).velocity


# Public functions that take no two measures, points or data of this kind, and where they are held.
ELSEWHERE = {
    "in tests of their own": """
        TransportMap alignment_flow barycenter barycentric_map benamou_brenier blow_up_time
        bridge_matching_loss bures bures_map circle_chart circular_order cluster_labels
        coarsen collective_diffusion compare conditional_flow_matching_loss
        conditional_value_at_risk critic_game
        conditional_wasserstein contraction couple cyclic_group dacorogna_moser
        denoising_loss drifting_loss entropic_barycenter entropic_mobility
        entropic_potentials evaluate fisher_information fit flat_mobility flow_matching_loss
        fokker_planck_residual fourier_kernel from_anndata from_arrays from_table
        from_xarray gaspari_cohn gaussian_process geodesic_between gradient_spread
        gromov_wasserstein host harmonic_extension in_context invariant_dimension kalman_filter
        kalman_inversion kinetic_cost kinetic_interpolation kl_divergence layers learn
        least_squares_velocity linear_posterior linearized_wasserstein logarithmic_mean
        lost_in_the_middle lyapunov_exponent martingale_transport mean_field_game
        mean_mobility median merge_clusters minibatch minibatch_coupling minimize
        nested_mccann nested_wasserstein neural_collapse orthonormal_bases pairing_dynamics
        partial_transport path_metric place pontryagin profile quantize
        random_fourier_kernel random_layers read_transformer regress retrieval_accuracy
        retrieval_modes retrieval_probability sample schroedinger_bridge scipy_method
        score_matching_loss self_test sgd_moments simulate simulate_resumable sphere_chart
        sphere_directions sphere_grid stability_threshold stepper sweep
        thresholded_covariance time_to_clusters transport_representation transport_spline
        two_sample_test valley_drift velocity_error velocity_from_score worst_case
    """,
    "in tests of learned energies, of bridges and of functions": """
        bridge_cost bridge_hamiltonian flow_fields jarzynski_loss karhunen_loeve learn_energy
        distillation_loss log_likelihood random_fields score_error stopping_loss
    """,
}


def small(*, nan: bool = False, permuted: bool = False, split: bool = False, shift: float = 0.0):
    """Six atoms in the plane with masses; one without mass, which holds NaN.

    `split` has in its place the half of another atom: the same measure.
    """
    x = jnp.array([[0.3, 0.7], [-1.0, 0.2], [0.5, -0.4], [1.2, 0.9], [-0.3, -0.8], [jnp.nan, 5.0]])
    w = jnp.array([0.1, 0.25, 0.2, 0.15, 0.3, 0.0])
    if split:
        x, w = x.at[5].set(x[4]), w.at[4].set(0.15).at[5].set(0.15)
    if nan:
        x = x.at[1, 0].set(jnp.nan)
    if permuted:
        order = jnp.array([3, 5, 0, 4, 2, 1])
        x, w = x[order], w[order]
    return fm.Particles(x + shift, weights=w)


def other(*, d: int = 2):
    """Five atoms with masses of their own."""
    x = jnp.array([[0.1, 0.3], [1.5, -0.2], [-0.7, 0.4], [0.6, 1.1], [-0.2, -0.9]])
    w = jnp.array([0.3, 0.1, 0.2, 0.25, 0.15])
    return fm.Particles(jnp.tile(x, (1, d))[:, :d], weights=w)

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


def potential(x):
    return jnp.sum(x**2) / 2 + jnp.sum(jnp.sin(x))


KERNEL = fm.GaussianKernel(0.8)
DIRECTIONS = jnp.array([[1.0, 0.0], [0.6, 0.8], [-0.28, 0.96]])
COUNT = {"gradient": "a count"}
PLAN = {"gradient": "a plan has no derivative", "split": "of other atoms", "permuted": "of atoms"}


def one(call, **without) -> Entry:
    return Entry(lambda mu, nu: call(mu), without, both=False)


def energy(make, **without) -> Entry:
    return Entry(lambda mu, nu: make(nu)(mu), without)


CONTRACT: dict[str, Entry] = {
    # Distances and divergences of two measures.
    "wasserstein": Entry(fm.wasserstein),
    "wasserstein p=1": Entry(lambda mu, nu: fm.wasserstein(mu, nu, 1)),
    "sliced_wasserstein": Entry(lambda mu, nu: fm.sliced_wasserstein(mu, nu, DIRECTIONS)),
    "sinkhorn_divergence": Entry(lambda mu, nu: fm.sinkhorn_divergence(mu, nu, 0.5)),
    "entropic_cost": Entry(lambda mu, nu: fm.entropic_cost(mu, nu, 0.5)),
    "unbalanced_sinkhorn_divergence": Entry(
        lambda mu, nu: fm.unbalanced_sinkhorn_divergence(mu, nu, 0.5)
    ),
    "energy_distance": Entry(fm.energy_distance),
    "mmd": Entry(lambda mu, nu: fm.mmd(mu, nu, KERNEL)),
    "hellinger_kantorovich": Entry(fm.hellinger_kantorovich),
    "unbalanced_transport": Entry(lambda mu, nu: fm.unbalanced_transport(mu, nu).value),
    "mccann": Entry(lambda mu, nu: fm.mccann(mu, nu, 0.3).covariance()),
    "coupling": Entry(fm.coupling, PLAN),
    "entropic_coupling": Entry(lambda mu, nu: fm.entropic_coupling(mu, nu, 0.5), PLAN),
    "entropic_map": Entry(lambda mu, nu: fm.entropic_map(mu, nu, 0.5)(jnp.array([0.1, 0.2]))),
    # Energies.
    "PotentialEnergy": one(fm.PotentialEnergy(potential)),
    "InteractionEnergy": one(fm.InteractionEnergy(KERNEL)),
    "KernelEntropy": one(fm.KernelEntropy(KERNEL)),
    "MMD": energy(lambda nu: fm.MMD(nu, KERNEL)),
    "SlicedWasserstein": energy(lambda nu: fm.SlicedWasserstein(nu, DIRECTIONS)),
    "SinkhornDivergence": energy(lambda nu: fm.SinkhornDivergence(nu, 0.5)),
    "KernelSteinDiscrepancy": one(fm.KernelSteinDiscrepancy(potential, KERNEL)),
    "ksd": one(lambda mu: fm.ksd(mu, potential, KERNEL)),
    # What is read off one measure.
    "mean": one(lambda mu: mu.mean()),
    "covariance": one(lambda mu: mu.covariance()),
    "logmean": one(lambda mu: mu.logmean(potential)),
    "interaction_energy": one(lambda mu: fm.interaction_energy(mu, 1.5)),
    "order_parameter": one(fm.order_parameter),
    "dispersion": one(fm.dispersion),
    "attention_entropy": one(lambda mu: fm.attention_entropy(mu, 1.5)),
    "number_of_clusters": one(lambda mu: fm.number_of_clusters(mu, 0.4), **COUNT),
    "soft_number_of_clusters": one(lambda mu: fm.soft_number_of_clusters(mu, 0.4)),
    # Systems, asked by hand for the velocity of a point of their own.
    "SelfAttention": one(lambda mu: _rate(fm.SelfAttention(beta=2.0), mu)),
    "L2Attention": one(lambda mu: _rate(fm.L2Attention(beta=2.0), mu)),
    "ConsensusBased": one(lambda mu: _rate(fm.ConsensusBased(potential, alpha=3.0), mu)),
    "McKeanVlasov": one(lambda mu: _rate(fm.McKeanVlasov(potential, KERNEL, beta=None), mu)),
    "GradientFlow(MMD)": Entry(lambda mu, nu: _rate(fm.GradientFlow(fm.MMD(nu, KERNEL)), mu)),
    "GradientFlow(KL, Stein)": one(
        lambda mu: _rate(fm.GradientFlow(fm.KL(potential), fm.Stein(KERNEL)), mu)
    ),
}


def _rate(system, mu):
    return system.rates(0.0, jnp.array([0.2, -0.4]), mu).velocity


# Public functions that take no two measures, points or data of this kind, and where they are held.
ELSEWHERE = {
    "in tests of their own": """
        TransportMap blow_up_time circle_chart mean_mobility retrieval_modes sphere_chart
        retrieval_probability transport_representation read_transformer
        contraction geodesic_between lyapunov_exponent sphere_grid valley_drift
        contraction cyclic_group invariant_dimension neural_collapse
        geodesic_between lyapunov_exponent sphere_grid valley_drift
        alignment_flow barycenter barycentric_map bridge_matching_loss bures bures_map
        contraction
        alignment_flow barycenter barycentric_map benamou_brenier bridge_matching_loss bures
        bures_map
        circular_order cluster_labels coarsen collective_diffusion compare
        conditional_flow_matching_loss conditional_wasserstein couple dacorogna_moser
        denoising_loss drifting_loss entropic_barycenter entropic_mobility
        entropic_potentials evaluate fisher_information fit flat_mobility flow_matching_loss
        fokker_planck_residual fourier_kernel from_anndata from_arrays from_table
        from_xarray gaspari_cohn gaussian_process
        gradient_spread gromov_wasserstein harmonic_extension in_context kalman_filter
        kalman_inversion kinetic_cost kinetic_interpolation kl_divergence layers learn
        least_squares_velocity linear_posterior linearized_wasserstein logarithmic_mean
        lost_in_the_middle martingale_transport mean_field_game median merge_clusters minibatch
        minibatch_coupling minimize
        nested_mccann nested_wasserstein orthonormal_bases pairing_dynamics partial_transport
        path_metric place pontryagin profile quantize random_fourier_kernel random_layers regress
        retrieval_accuracy sample schroedinger_bridge scipy_method score_matching_loss self_test
        sgd_moments simulate simulate_resumable sphere_directions stability_threshold stepper
        sweep thresholded_covariance time_to_clusters transport_spline two_sample_test
        velocity_error velocity_from_score worst_case
    """,
    "in tests of learned energies, of bridges and of functions": """
        bridge_cost bridge_hamiltonian flow_fields jarzynski_loss karhunen_loeve learn_energy
        log_likelihood random_fields
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

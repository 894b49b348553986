"""Long tables of tests: one row of a few by default, the rest among the slow ones."""

_HALVES = """
    test_a_controller test_a_loop_of_ones_own_takes_the_path_of_simulate test_an_adjoint
    test_declared_functional_never_increases test_energy_distance_on_the_line_minimises
    test_every_system_and_its_gradient_lower test_f_divergences_by_quadrature
    test_first_variation_and_velocity_are_derivatives_of_the_value
    test_gradient_of_a_loss_is_its_difference test_heads_masks_and_biases_of_every_kind
    test_least_at_the_exact_field test_matern_is_a_bessel_function test_momenta_on_the_sphere
    test_noise_on_the_simplex_runs_to_its_law test_orders_of_the_solvers
    test_p_values_are_calibrated_and_see_a_shift test_run_stays_on_its_space
    test_sliced_flow_dissipates_the_relative_entropy test_stein_of_trees
    test_steps_of_many_unknowns_need_no_matrix
    test_sums_over_cells_keep_all_digits_at_every_scale
    test_the_path_does_not_depend_on_the_number_of_devices
    test_weak_order_against_exact_moments_of_sgd
""".split()  # noqa: SIM905
_QUARTERS = """
    test_gradients_are_differences_also_of_a_measure_against_itself
    test_half_an_atom_twice_is_an_atom test_jit_is_eager_and_vmap_is_loop
    test_reverse_is_forward_is_central_differences
""".split()  # noqa: SIM905
_EIGHTHS = ["test_points_that_a_law_is_not_for_are_named"]
SHARES = dict.fromkeys(_HALVES, 2) | dict.fromkeys(_QUARTERS, 4) | dict.fromkeys(_EIGHTHS, 8)

import numpy as np
import pytest

from gh_tools.bayes.design import make_design
from gh_tools.bayes.formula import parse
from gh_tools.errors import DataError, UsageError
from tests.bayes.data import planted

FORMULA = "holes ~ ni_per_hf + density + se_vacancy_rate"


def test_standardised_columns_have_mean_zero_and_deviation_one():
    design = make_design(parse(FORMULA), planted())
    predictors, response = design.standardised()
    for values in (predictors, response[:, None]):
        # Rounding of sums of 72 numbers of order one.
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-13)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-13)


def test_without_intercept_nothing_is_shifted():
    table = planted()
    design = make_design(parse("holes ~ 0 + ni_per_hf + center(density)"), table)
    assert design.coefficients == ("ni_per_hf", "center(density)")
    assert design.response_center == 0 and not design.predictor_center.any()
    predictors, _ = design.standardised()
    np.testing.assert_allclose((predictors**2).mean(axis=0), 1, atol=1e-13)
    ratio = predictors[:, 0] / table.columns["ni_per_hf"]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-14)


def test_units_of_coefficients():
    table = planted()
    table.units["se_vacancy_rate"] = "nm"
    assert make_design(parse(FORMULA), table).units == {
        "Intercept": "1/nm^2",
        "ni_per_hf": "1/nm^2",
        "density": "1/nm^2/(g/cm^3)",
        "se_vacancy_rate": "1/nm^2/nm",
        "sigma": "1/nm^2",
        "R2": "",
    }


def test_inflation_is_that_of_regressing_a_term_on_the_others():
    table = planted()
    rng = np.random.default_rng(1)
    table.columns["twist"] = table.columns["density"] + 0.1 * rng.normal(size=72)
    design = make_design(parse(FORMULA + " + twist"), table)
    for k in range(4):
        others = np.column_stack([np.ones(72), np.delete(design.predictors, k, axis=1)])
        column = design.predictors[:, k]
        residual = column - others @ np.linalg.lstsq(others, column)[0]
        np.testing.assert_allclose(design.inflation[k], column.var() / residual.var(), rtol=1e-9)
    warned = design.warnings()
    assert len(warned) == 2
    assert warned[0].startswith("density is nearly a linear combination")
    assert warned[1].startswith("twist is nearly a linear combination")


def test_terms_that_must_explain_the_mean_are_named():
    table = planted()
    (warned,) = make_design(
        parse("holes ~ 0 + ni_per_hf + center(density) + se_vacancy_rate"), table
    ).warnings()
    assert "no intercept, so that ni_per_hf and se_vacancy_rate must explain the mean" in warned
    assert make_design(parse("holes ~ 0 + center(density)"), table).warnings() == []


def test_interaction_of_nearly_constant_columns_is_fine():
    # A density that varies by 1e-4 of its value is no constant.
    table = planted()
    table.columns["density"] = 7.5 + 1e-4 * table.columns["density"]
    assert make_design(parse("holes ~ ni_per_hf + density"), table).warnings() == []


def fails(formula, complaint, table):
    with pytest.raises(DataError) as caught:
        make_design(parse(formula), table)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("made.spectra.zarr: ")


def test_constant_columns_are_named():
    table = planted()
    table.columns["density"][:] = 7.1
    fails(FORMULA, "density is the same for all structures", table)
    # Without an intercept a constant column takes its place, but zeros have no effect.
    make_design(parse("holes ~ 0 + density"), table)
    table.columns["density"][:] = 0
    fails("holes ~ 0 + density", "density is zero throughout", table)
    table.columns["holes"][:] = 1.5
    fails("holes ~ ni_per_hf", "the response holes is the same for all structures", table)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dependent_columns_are_named(dtype):
    table = planted()
    columns = table.columns
    columns["twist"] = (3 * columns["ni_per_hf"] - columns["density"] + 2).astype(dtype)
    fails(
        FORMULA + " + twist",
        "the terms ni_per_hf, density, twist are linearly dependent",
        table,
    )


def test_values_that_are_not_finite_are_named_with_their_structure():
    table = planted()
    table.columns["density"][[4, 9]] = np.nan
    fails(FORMULA, "density is nan for the structure s4 and 1 more", table)
    make_design(parse("holes ~ ni_per_hf"), table)
    table.columns["holes"][3] = np.inf
    fails("holes ~ ni_per_hf", "holes is inf for the structure s3;", table)


def test_fewer_structures_than_parameters():
    fails(FORMULA, "4 structures do not determine the 5 parameters", planted(4))
    make_design(parse(FORMULA), planted(6))


@pytest.mark.parametrize("factor", [1.0, 1e-30, 1e30, 1e-150])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_response_without_scatter_is_refused(factor, offset):
    table = planted()
    columns = table.columns
    columns["holes"] = factor * (3 * columns["ni_per_hf"] - 2 * columns["density"] + offset)
    fails("holes ~ ni_per_hf + density", "there is no scatter", table)
    fails(FORMULA, "leave out the term that defines holes", table)
    # Scatter far above rounding is scatter.
    rng = np.random.default_rng(0)
    deviation = columns["holes"].std()
    columns["holes"] += (1e-10 if offset == 0 else 1e-6) * deviation * rng.normal(size=72)
    make_design(parse(FORMULA), table)


def test_a_response_that_is_a_term_is_refused():
    table = planted()
    table.columns["holes"] = -3 * table.columns["density"]
    fails("holes ~ 0 + density", "holes is exactly -3 density, to rounding", table)
    table.columns["holes"] = table.columns["density"] ** 2
    fails("holes ~ density^2", "holes is exactly 1 density^2 + a constant", table)


def test_float32_leaves_scatter():
    # Rounding to float32 is 1e-8 of the values, and is estimated as such.
    table = planted()
    table.columns["holes"] = (2 * table.columns["density"]).astype(np.float32).astype(float)
    make_design(parse("holes ~ density"), table)


def test_centred_constants_are_constant():
    table = planted()
    table.columns["twist"][:] = 0.1  # whose mean is not 0.1 to the last bit
    for term in ("center(twist)", "center(twist)^2", "center(twist):density"):
        fails(f"holes ~ 0 + density + {term}", f"{term} is zero throughout", table)


@pytest.mark.parametrize("factor", [1e-250, 1e-30, 1e30, 1e140, 1e250])
def test_scales_of_any_size(factor):
    table = planted()
    expected = make_design(parse(FORMULA), table)
    table.columns["holes"] = factor * table.columns["holes"]
    found = make_design(parse(FORMULA), table)
    assert found.response_scale == pytest.approx(factor * expected.response_scale, rel=1e-12)
    np.testing.assert_allclose(found.standardised()[1], expected.standardised()[1], atol=1e-12)
    np.testing.assert_allclose(found.inflation, expected.inflation, rtol=1e-9)


def test_numbers_without_room_are_refused():
    table = planted()
    table.columns["twist"] = 1e200 * table.columns["twist"]
    fails("holes ~ twist^2", "twist^2 has values of 1e+290 or more", table)
    table.columns["holes"] = 1e-200 * table.columns["holes"]
    fails("holes ~ twist", "the coefficient has no room among floating-point numbers", table)


@pytest.mark.parametrize("n", [0, 1])
def test_no_structures_to_speak_of(n):
    fails("holes ~ density", f"{n} structures do not determine the 3 parameters", planted(n))


def test_reserved_names():
    table = planted()
    table.columns["sigma"] = table.columns["twist"]
    with pytest.raises(UsageError, match="sigma is the name of a parameter"):
        make_design(parse("holes ~ sigma"), table)

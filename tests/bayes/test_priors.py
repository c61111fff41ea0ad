import pytest

from gh_tools.bayes.design import make_design
from gh_tools.bayes.formula import parse
from gh_tools.bayes.priors import Prior, complete_priors, parse_priors
from gh_tools.errors import UsageError
from tests.bayes.data import planted


def test_priors_are_read():
    options = ["a=normal(0, 2.5)", "center(b)^2=normal(-1e3,1)", "sigma=exponential(3)"]
    assert parse_priors(options) == {
        "a": Prior("normal", (0.0, 2.5)),
        "center(b)^2": Prior("normal", (-1000.0, 1.0)),
        "sigma": Prior("exponential", (3.0,)),
    }


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("a", "expected NAME=normal(mean, sd)"),
        ("=normal(0,1)", "expected NAME=normal(mean, sd)"),
        ("a=cauchy(0,1)", "expected NAME=normal(mean, sd)"),
        ("a=normal(0,x)", "expected NAME=normal(mean, sd)"),
        ("a=normal(0,nan)", "expected NAME=normal(mean, sd)"),
        ("a=normal(1)", "expected normal(mean, sd)"),
        ("a=normal(0,0)", "positive sd"),
        ("sigma=halfnormal(-1)", "positive scale"),
    ],
)
def test_what_is_no_prior_is_refused(option, complaint):
    with pytest.raises(UsageError) as caught:
        parse_priors([option])
    assert f"--prior {option}: " in str(caught.value)
    assert complaint in str(caught.value)


def test_two_priors_for_one_name():
    with pytest.raises(UsageError, match="a has two priors"):
        parse_priors(["a=normal(0,1)", "a=normal(0,2)"])


def test_defaults_are_weak_in_the_data_s_own_scale():
    table = planted()
    design = make_design(parse("holes ~ density"), table)
    priors = complete_priors(design, {"sigma": Prior("exponential", (3.0,))})
    holes, density = table.columns["holes"], table.columns["density"]
    assert priors["sigma"] == Prior("exponential", (3.0,))
    assert priors["Intercept"].arguments == pytest.approx((holes.mean(), 2.5 * holes.std()))
    assert priors["density"].arguments == pytest.approx((0, 2.5 * holes.std() / density.std()))


@pytest.mark.parametrize(
    ("name", "prior", "complaint"),
    [
        ("twist", Prior("normal", (0.0, 1.0)), "it has Intercept, density, sigma"),
        ("density", Prior("halfnormal", (1.0,)), "density takes normal(mean, sd)"),
        ("sigma", Prior("normal", (0.0, 1.0)), "sigma takes halfnormal(scale) or exponential"),
    ],
)
def test_priors_that_fit_no_parameter(name, prior, complaint):
    design = make_design(parse("holes ~ density"), planted())
    with pytest.raises(UsageError) as caught:
        complete_priors(design, {name: prior})
    assert complaint in str(caught.value)

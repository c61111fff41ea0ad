import numpy as np
import pytest

from gh_tools.bayes.formula import parse
from gh_tools.errors import UsageError


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("y~a", "y ~ a"),
        (" y ~ a +b ", "y ~ a + b"),
        ("y ~ 1 + a", "y ~ a"),
        ("y ~ 0 + a", "y ~ 0 + a"),
        ("y ~ a + 0", "y ~ 0 + a"),
        ("y ~ 1", "y ~ 1"),
        ("y ~ a^2 + a : b + center( c )^3", "y ~ a^2 + a:b + center(c)^3"),
    ],
)
def test_formulas_are_read(text, canonical):
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


def test_terms_are_evaluated_with_units():
    a, b = np.array([1.0, 2.0, 6.0]), np.array([2.0, 4.0, 3.0])
    units = {"a": "g/cm^3", "b": "eV"}
    expected = {
        "a": (a, "g/cm^3"),
        "a^2": (a**2, "(g/cm^3)^2"),
        "b^3": (b**3, "eV^3"),
        "center(a)": (a - 3, "g/cm^3"),
        "center(a)^2:b": ((a - 3) ** 2 * b, "(g/cm^3)^2 eV"),
    }
    formula = parse("y ~ " + " + ".join(expected))
    assert formula.predictors == ("a", "b")
    for term in formula.terms:
        values, unit = expected[str(term)]
        np.testing.assert_array_equal(term.evaluate({"a": a, "b": b}), values)
        assert term.unit(units) == unit


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("wse2.spectra.zarr", "no '~'"),
        ("~ a", "'' is no name of a response"),
        ("log(y) ~ a", "'log(y)' is no name of a response"),
        ("y ~", "cannot read the term ''"),
        ("y ~ a + ", "cannot read the term ''"),
        ("y ~ a * b", "cannot read the term 'a * b'"),
        ("y ~ a - 1", "cannot read the term 'a - 1'"),
        ("y ~ log(a)", "cannot read the term 'log(a)'"),
        ("y ~ a^0.5", "cannot read the term 'a^0.5'"),
        ("y ~ a^1", "cannot read the term 'a^1'"),
        ("y ~ a ~ b", "cannot read the term 'a ~ b'"),
        ("y ~ 0", "nothing on the right"),
        ("y ~ a + a", "a stands there twice"),
        ("y ~ a:b + b:a", "b:a stands there twice"),
        ("y ~ a:a", "as a power, such as a^2"),
        ("y ~ a + y", "y is on both sides"),
    ],
)
def test_what_is_no_formula_is_refused(text, complaint):
    with pytest.raises(UsageError, match="formula") as caught:
        parse(text)
    assert complaint in str(caught.value)

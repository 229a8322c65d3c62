"""The drawn computation graph shows what the program states and what autograd reports, and nothing else."""

import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from torch.distributions import Normal

from vaebook.diagrams import Program, backward_edges, computation_graph
from vaebook.figures import BLUE, INK, RED

pytestmark = pytest.mark.usefixtures("no_leftovers")


def program(way: str) -> Program:
    """z drawn directly, by the trick, or by the trick and then detached."""
    x = torch.tensor(2.0)
    phi, theta = torch.tensor([0.5, -0.3], requires_grad=True), torch.tensor(1.0, requires_grad=True)
    mu, log_var = (phi * x).chunk(2)  # two outputs of one operation
    eps = torch.randn(1)
    z = Normal(mu, log_var.exp()).sample() if way == "sample" else mu + (0.5 * log_var).exp() * eps
    if way == "detach":
        z = z.detach()
    f = -((z - theta) ** 2).sum()
    values = {"x": x, "phi": phi, "eps": eps, "mu": mu, "log_var": log_var, "z": z, "theta": theta, "f": f}
    inputs = {"mu": ("x", "phi"), "log_var": ("x", "phi"), "z": ("mu", "log_var", "eps"), "f": ("z", "theta")}
    if way == "sample":
        del values["eps"]
        inputs["z"] = ("mu", "log_var")
    return Program(values, inputs, {"z" if way == "sample" else "eps"})


@pytest.mark.parametrize("way", ["sample", "detach"])
def test_a_draw_or_a_detach_cuts_the_road(way):
    cut = program(way)
    assert backward_edges(cut) == {("f", "theta")}
    cut.values["f"].backward()
    assert cut.values["phi"].grad is None
    assert cut.values["theta"].grad is not None


def test_the_trick_opens_it_and_the_noise_gets_nothing():
    edges = backward_edges(program("trick"))
    road = {("f", "z"), ("z", "mu"), ("z", "log_var"), ("mu", "phi"), ("log_var", "phi")}
    assert edges == road | {("f", "theta")}


def test_two_outputs_of_one_operation_are_told_apart():
    phi = torch.ones(2, requires_grad=True)
    mu, unused = phi.chunk(2)
    values = {"phi": phi, "mu": mu, "unused": unused, "f": mu.sum()}
    inputs = {"mu": ("phi",), "unused": ("phi",), "f": ("mu",)}
    assert backward_edges(Program(values, inputs, set())) == {("f", "mu"), ("mu", "phi")}


def test_values_without_a_name_are_passed_over_and_a_leaf_output_ends_the_walk():
    a = torch.ones((), requires_grad=True)
    long = Program({"a": a, "f": ((a * 2).exp() + a).sin()}, {"f": ("a",)}, set())
    assert backward_edges(long) == {("f", "a")}
    assert backward_edges(Program({"f": a}, {}, set())) == set()


def test_an_operation_without_a_name_that_is_used_many_times_is_walked_once():
    a = torch.ones((), requires_grad=True)
    b = a * 1
    for _ in range(60):  # 2^60 ways back
        b = b + b
    assert backward_edges(Program({"a": a, "f": b}, {"f": ("a",)}, set())) == {("f", "a")}


def test_nodes_and_arrows_are_those_of_the_program():
    programs = {"draw": program("sample"), "trick": program("trick")}
    figure = computation_graph(programs)
    assert [ax.get_title() for ax in figure.axes] == list(programs)
    for ax, shown in zip(figure.axes, programs.values(), strict=True):
        circles = [patch for patch in ax.patches if isinstance(patch, Circle)]
        squares = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        names = {text.get_text(): text.get_position() for text in ax.texts}
        assert {f"${name}$" for name in shown.values} <= names.keys()
        assert [circle.center for circle in circles] == [names[f"${name}$"] for name in shown.drawn]
        assert all(circle.get_facecolor() == to_rgba(BLUE) for circle in circles)
        assert len(squares) == len(shown.values) - len(circles)

        arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
        found = {INK: set(), RED: set()}
        for arrow in arrows:
            ends = [tuple(end) for end in arrow._posA_posB]
            color = INK if arrow.get_edgecolor() == to_rgba(INK) else RED
            assert (arrow.get_linestyle() == "-") == (color == INK)  # told apart without colour too
            found[color].add(
                tuple(name for end in ends for name in shown.values if names[f"${name}$"] == end)
            )
        assert found[INK] == {(source, name) for name, inputs in shown.inputs.items() for source in inputs}
        assert found[RED] == backward_edges(shown)


def test_it_says_which_parameters_the_gradient_reaches():
    figure = computation_graph({"draw": program("sample"), "trick": program("trick")})
    said = [[t.get_text() for t in ax.texts if "gradient" in t.get_text()] for ax in figure.axes]
    assert said == [["no\ngradient", "gradient\narrives"], ["gradient\narrives"] * 2]


def test_every_value_stands_above_its_inputs_and_no_two_at_one_place():
    shown = program("trick")
    ax = computation_graph({"trick": shown}).axes[0]
    places = {text.get_text().strip("$"): text.get_position() for text in ax.texts}
    assert len({places[name] for name in shown.values}) == len(shown.values)
    for name, inputs in shown.inputs.items():
        assert all(places[source][1] < places[name][1] for source in inputs)

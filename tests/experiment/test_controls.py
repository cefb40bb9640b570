"""The controls of a run, alone and combined: styles, regions, colours, sizes, gradients and parameterisations."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_picture
from quick_run import StopAt, assert_same_run, read_losses

import nstjax
from nstjax import images
from nstjax.cli import main
from nstjax.errors import UserError
from nstjax.experiment.config import Config
from nstjax.experiment.inputs import prepare, resize_to_each_size

COMMON = {"experiment": "quick.py", "weights": "vgg.safetensors", "steps": 6}
LEFT_BLACK, TOP_BLACK = np.zeros((30, 40, 3), np.float32), np.zeros((36, 28, 3), np.float32)
LEFT_BLACK[:, 20:] = TOP_BLACK[18:] = 1


@pytest.fixture
def pictures(workspace):
    """Write a second style and masks next to the two pictures of ``workspace``."""
    images.save("other.png", 1 - smooth_picture(30, 30, seed=2))
    images.save("mask.png", LEFT_BLACK)
    images.save("style-mask.png", TOP_BLACK)
    return workspace


def run(style="style.png", out=None, **settings):
    return nstjax.stylize("content.png", style, out=out, **{**COMMON, **settings})


def style_losses(result):
    return result.metrics["style"][0]


# Blended styles.


def test_a_blend_with_a_single_share_equals_that_style(pictures):
    both = ["style.png", "other.png"]
    np.testing.assert_array_equal(run(both, blend_shares=(0, 2)).picture, run("other.png").picture)
    blended, half = run(both, blend_shares=(3, 1)), run(both)
    assert half.record["config"]["blend_shares"] == []
    assert np.abs(blended.picture - half.picture).max() > 1e-3
    # The squared distance to a mean is at most the mean of the squared distances.
    single = [style_losses(run(style, experiment=write_mean_squares_experiment())) for style in both]
    assert style_losses(run(both, experiment=write_mean_squares_experiment())) < np.mean(single)


def write_mean_squares_experiment():
    text = Path("quick.py").read_text().replace("losses.relative_squared", "losses.mean_squared")
    Path("mean_squares.py").write_text(text)
    return "mean_squares.py"


def test_blended_runs_resume_identically(pictures):
    both = ["style.png", "other.png"]
    whole = run(both, out="whole", log_every=1)
    cut = nstjax.stylize("content.png", both, out="cut", log_every=1, snapshots=(3,), listener=StopAt(3), **COMMON)
    assert cut.steps == 3
    np.testing.assert_array_equal(nstjax.resume("cut").picture, whole.picture)
    assert read_losses("cut") == read_losses("whole")
    page = Path("cut/report.html").read_text()
    assert "content in the style of style and other" in page and "Style 2" in page


# Regions.


def test_each_region_is_drawn_in_the_style_of_its_colour(pictures):
    both = ["style.png", "other.png"]
    masked = run(both, content_mask="mask.png", style_masks=["black", "white"], loss_weights={"content": 0})
    swapped = run(both, content_mask="mask.png", style_masks=["white", "black"], loss_weights={"content": 0})
    assert np.abs(masked.picture - swapped.picture).max() > 1e-3
    # A style whose region does not occur in the content has no effect.
    alone = run(both, content_mask="black", style_masks=["black", "white"])
    whole = run("style.png", content_mask="black", style_masks=["black"])
    for result in (alone, whole):  # their guides are all ones
        assert_same_run(result.picture, run("style.png").picture)


def test_masked_runs_resume_and_sweep(pictures):
    masks = {"content_mask": "mask.png", "style_masks": ["style-mask.png"]}
    whole = run(out="whole", **masks)
    cut = nstjax.stylize("content.png", "style.png", out="cut", snapshots=(3,), listener=StopAt(3), **COMMON, **masks)
    assert cut.steps == 3
    np.testing.assert_array_equal(nstjax.resume("cut").picture, whole.picture)
    swept = nstjax.sweep("content.png", "style.png", vary={"style": [1.0, 9.0]}, out="sweep", **COMMON, **masks)
    assert_same_run(swept.members[0].picture, whole.picture)
    assert np.abs(swept.members[1].picture - whole.picture).mean() > 0.01


def test_masks_can_be_arrays(pictures):
    guide = np.zeros((2, 30, 40), np.float32)
    guide[0, :, :20] = guide[1, :, 20:] = 1
    style = np.stack([np.ones((36, 28), np.float32), np.zeros((36, 28), np.float32)])
    result = run(["style.png", "other.png"], content_mask=guide, style_masks=[style, 1 - make_style_mask(30, 30)])
    named = run(["style.png", "other.png"], content_mask="mask.png", style_masks=["black", "white"])
    assert_same_run(result.picture, named.picture)


def make_style_mask(height, width):
    return np.stack([np.ones((height, width), np.float32), np.zeros((height, width), np.float32)])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--content-mask", "mask.png"], "each style needs a mask, but there are 0 for 1 styles"),
        (["--style-masks", "black"], "give the content a mask too"),
        (["--content-mask", "mask.png", "--style-masks", "black"], "region #ffffff of the content mask (50.0%"),
        (["--content-mask", "mask.png", "--style-masks", "mask.png"], "the mask of style 1 is 40x30, another shape"),
        (["--content-mask", "content.png", "--style-masks", "black"], "expected a mask"),
        (["--content-mask", "none.png", "--style-masks", "black"], "no file none.png"),
        (["--content-mask", "blakc", "--style-masks", "black"], "got 'blakc'"),
        (["--blend", "other.png", "--blend-shares", "1,2,3"], "gives 3 shares, but there are 2 styles"),
        (["--blend", "other.png", "--blend-shares", "0,0"], "at least one above 0"),
        (
            ["--save", "mask.png", "--content-mask", "mask.png", "--style-masks", "style-mask.png"],
            "write over a picture",
        ),
    ],
)
def test_masks_and_blends_that_do_not_fit_are_refused(pictures, capsys, arguments, line):
    command = ["run", "content.png", "style.png", "--experiment", "quick.py", "--weights", "vgg.safetensors"]
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not Path("runs").exists()


def test_a_run_without_styles_is_refused(pictures):
    with pytest.raises(UserError, match="style must be at least one picture"):
        run([])


def test_gram_matrices_of_the_picture_need_the_input_layer(pictures, capsys):
    layers = "style=block1_conv1;content=block2_conv1"
    command = ["run", "content.png", "style.png", "--preset", "keras-example", "--weights", "vgg.safetensors"]
    assert main([*command, "--layers", layers, "--size", "32", "--steps", "2", "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert "add input to the layers block1_conv1" in error and not Path("out").exists()


def test_overlapping_and_incomplete_masks_are_refused(pictures):
    guide = np.ones((2, 30, 40), np.float32)
    with pytest.raises(UserError, match="the mask of style 1 has 1, the content mask 2"):
        run(content_mask=guide / 2, style_masks=[guide[:1]])
    for wrong, line in ((guide, "the content mask: regions overlap"), (guide / 4, "guides do not cover")):
        with pytest.raises(UserError, match=line):
            run(content_mask=wrong, style_masks=[guide / 2])


def test_a_statistic_that_is_not_a_sum_refuses_masks(pictures):
    text = Path("quick.py").read_text().replace("nstjax.per_layer(nstjax.statistics.gram)", "lambda features: features")
    Path("features.py").write_text(text)
    with pytest.raises(UserError, match="style"):
        run(experiment="features.py", content_mask="mask.png", style_masks=["style-mask.png"])


# Colours.


def test_the_result_gets_the_colours_of_the_content(pictures):
    plain, coloured = run(), run(keep_colours="oklab")
    content = prepare("content.png", "style.png", Config(sizes=32)).content
    np.testing.assert_allclose(coloured.picture, images.keep_colours(plain.picture, content, space="oklab"), atol=1e-6)


def test_only_the_luminance_is_transferred(pictures):
    inputs = prepare("content.png", "style.png", Config(sizes=32, luminance=True))
    for picture in (inputs.content, inputs.style, inputs.start):
        np.testing.assert_array_equal(picture[..., 0], picture[..., 2])
    np.testing.assert_allclose(
        inputs.style.mean(), inputs.content.mean(), atol=0.02
    )  # clipping changes the mean slightly
    result = run(luminance=True, out="grey", snapshots=(3,))
    chroma = images.read("content.png").rgb.std(axis=-1).mean()
    assert result.picture.std(axis=-1).mean() > 0.5 * chroma  # coloured again
    assert images.read("grey/snapshots/000003.png").rgb.std(axis=-1).mean() > 0.5 * chroma


@pytest.mark.parametrize("which", ["content", "style"])
@pytest.mark.parametrize("method", images.MATCHING_METHODS)
def test_colours_are_matched_when_the_inputs_are_prepared(pictures, which, method):
    plain = prepare("content.png", "style.png", Config(sizes=32))
    matched = prepare("content.png", "style.png", Config(sizes=32, match_colour=which, colour_map=method))
    source, target = (plain.content, plain.style) if which == "content" else (plain.style, plain.content)
    expected = images.match_colour(source, target, method=method)
    np.testing.assert_allclose(matched.content if which == "content" else matched.style, expected, atol=1e-6)


# Sizes.


def test_every_picture_is_resized_to_each_size(pictures):
    config = Config(sizes=(16, 32), style_scale=0.5, keep_colours="lab")
    both, masks = ["style.png", "other.png"], {"content_mask": "mask.png", "style_masks": ["black", "white"]}
    coarse, fine = resize_to_each_size(prepare("content.png", both, config, **masks), config)
    assert coarse.content.shape == coarse.start.shape == (12, 16, 3) and fine.content.shape == (24, 32, 3)
    assert [style.shape[:2] for style in coarse.styles] == [(8, 6), (8, 8)]
    assert coarse.regions.shape == (2, 12, 16) and coarse.style_regions[1].shape == (2, 8, 8)
    np.testing.assert_allclose(coarse.regions.sum(0), 1, atol=1e-6)
    assert np.shares_memory(fine.content, fine.start)


def test_a_style_of_fixed_size_keeps_its_size():
    config = Config(sizes=(16, 32), style_size=20)
    coarse, fine = resize_to_each_size(prepare(smooth_picture(30, 40), smooth_picture(36, 28), config), config)
    assert coarse.style.shape == fine.style.shape == (20, 16, 3)


# Parameterisations, gradients and optimisers.


def test_laplacian_pyramids_and_normalised_gradients_change_the_result(pictures):
    plain = run()
    pyramid = run(parameterisation="laplacian", learning_rate=0.01)
    assert np.abs(pyramid.picture - plain.picture).max() > 1e-3
    assert pyramid.metrics["total"][-1] < pyramid.metrics["total"][0]
    shaped = run(normalise_gradients=True)
    assert shaped.metrics["total"][0] == plain.metrics["total"][0]  # the loss is the same, its gradient is not
    assert np.abs(shaped.picture - plain.picture).max() > 1e-3
    style = run(normalise_gradients=True, loss_weights={"style": 1e3})
    assert np.abs(style.picture - shaped.picture).max() > 1e-3  # loss weights still matter


@pytest.mark.parametrize(
    ("optimiser", "rate", "line_search"),
    [("rmsprop", 0.01, True), ("sgd", 1e-3, True), ("lbfgs", 0.01, True), ("lbfgs", 0.01, False)],
)
def test_every_optimiser_resumes_identically(pictures, optimiser, rate, line_search):
    settings = {"optimiser": optimiser, "learning_rate": rate, "line_search": line_search}
    settings |= {"keep": "average", "memory": 3}
    whole = run(out="whole", **settings)
    nstjax.stylize("content.png", "style.png", out="cut", snapshots=(3,), listener=StopAt(3), **{**COMMON, **settings})
    np.testing.assert_array_equal(nstjax.resume("cut").picture, whole.picture)
    assert whole.metrics["total"][-1] < whole.metrics["total"][0]


def test_all_controls_work_together(pictures):
    """Run and sweep from the command line, coarse to fine, with masks, a blend, colours and an average."""
    arguments = [
        *("content.png", "style.png", "--blend", "other.png", "--experiment", "quick.py"),
        *("--weights", "vgg.safetensors", "--content-mask", "mask.png", "--style-masks", "style-mask.png", "white"),
        *("--sizes", "20,32", "--steps", "3,2", "--learning-rate", "0.01", "--normalise-gradients"),
        *("--match-colour", "style", "--colour-map", "pca", "--keep-colours", "yiq", "--style-scale", "0.8"),
        *("--blend-shares", "2,1", "--keep", "average", "--init-deviation", "0.01", "--init", "mean"),
    ]
    assert main(["run", *arguments, "--out", "one", "--quiet"]) == 0
    assert main(["sweep", *arguments, "--style-weight", "1", "5", "--out", "many", "--quiet"]) == 0
    single, member = (images.read(path).rgb for path in ("one/output.png", "many/members/style=1/output.png"))
    assert single.shape == member.shape == (24, 32, 3)
    assert_same_run(single, member)
    record = json.loads(Path("one/config.json").read_text())
    assert record["pictures"]["names"] == ["content", "style", "other"]
    assert {"regions", "style-regions", "style-2-regions", "colours"} <= record["pictures"].keys()

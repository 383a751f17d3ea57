"""Trains `cloud-screen` on generated tiles and writes its package.

    python train_clouds.py

A network that looks at every cell of 4 x 4 pixels with 4 pixels around it: one convolution of
12 x 12 with stride 4, then two of 1 x 1. It is trained as a perceptron on cut-out patches.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # sums in another order would give another model
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy
from onnx import TensorProto, checker, helper, numpy_helper

import package
import tiles

SEED = 7
WIDTHS = (24, 12, 1)
TRAINING_TILES, TEST_TILES = 3000, 1000
CELLS_A_TILE, EPOCHS, BATCH = 64, 30, 512
CLOUDY_ABOVE = 0.7
# Share of the tiles that teach whose clouds are dim: stratus, fog, haze.
DIM = 0.25


def patches(pixels, cells):
    """The 12 x 12 surroundings of cells (tile, row, column), scaled as the graph scales them."""
    padded = numpy.pad(pixels, ((0, 0), (0, 0), (4, 4), (4, 4)))
    windows = numpy.lib.stride_tricks.sliding_window_view(padded, (12, 12), (2, 3))[:, :, ::4, ::4]
    which, row, column = cells
    chosen = windows[which, :, row, column]
    return chosen.reshape(len(which), -1).astype(numpy.float32) / 255


def forward(layers, x):
    active = [x]
    for index, (weights, bias) in enumerate(layers):
        x = x @ weights + bias
        x = 1 / (1 + numpy.exp(-x)) if index + 1 == len(layers) else numpy.maximum(x, 0)
        active.append(x)
    return active


def train(x, y, rng):
    """Adam on binary cross-entropy; a cell's target is its clouded share."""
    sizes = (x.shape[1], *WIDTHS)
    layers = [[rng.normal(size=(a, b)).astype(numpy.float32) * numpy.float32((2 / a) ** 0.5),
               numpy.zeros(b, numpy.float32)] for a, b in zip(sizes, sizes[1:])]
    first = [[numpy.zeros_like(p) for p in layer] for layer in layers]
    second = [[numpy.zeros_like(p) for p in layer] for layer in layers]
    step, steps = 0, EPOCHS * (len(x) // BATCH)
    for epoch in range(EPOCHS):
        order, loss = rng.permutation(len(x)), 0.0
        for start in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[start:start + BATCH]
            active = forward(layers, x[rows])
            error = (active[-1] - y[rows, None]) / BATCH
            loss += float(abs(error).sum())
            step += 1
            rate = 2e-3 * 0.5 * (1 + numpy.cos(numpy.pi * step / steps))
            for index in reversed(range(len(layers))):
                gradients = [active[index].T @ error + 1e-5 * layers[index][0], error.sum(0)]
                error = (error @ layers[index][0].T) * (active[index] > 0)
                for which, gradient in enumerate(gradients):
                    m, v = first[index][which], second[index][which]
                    m += 0.1 * (gradient - m)
                    v += 0.001 * (gradient * gradient - v)
                    scale = rate * (1 - 0.999 ** step) ** 0.5 / (1 - 0.9 ** step)
                    layers[index][which] -= (scale * m / (v ** 0.5 + 1e-8)).astype(numpy.float32)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: mean error {loss * BATCH / len(x):.4f}")
    return layers


def export(layers):
    constants = [numpy_helper.from_array(numpy.float32(1 / 255), "unit")]
    nodes = [helper.make_node("Cast", ["tile"], ["numbers"], to=TensorProto.FLOAT),
             helper.make_node("Mul", ["numbers", "unit"], ["reflectance"])]
    x = "reflectance"
    for index, (weights, bias) in enumerate(layers):
        shape = (4, 12, 12) if index == 0 else (weights.shape[0], 1, 1)
        kernel = numpy.ascontiguousarray(weights.T.reshape(weights.shape[1], *shape))
        constants += [numpy_helper.from_array(kernel, f"kernel_{index}"),
                      numpy_helper.from_array(bias, f"bias_{index}")]
        side = {"strides": [4, 4], "pads": [4, 4, 4, 4]} if index == 0 else {}
        inputs = [x, f"kernel_{index}", f"bias_{index}"]
        nodes.append(helper.make_node("Conv", inputs, [f"layer_{index}"], **side))
        kind, x = ("Sigmoid", "mask") if index + 1 == len(layers) else ("Relu", f"active_{index}")
        nodes.append(helper.make_node(kind, [f"layer_{index}"], [x]))
    nodes.append(helper.make_node("ReduceMean", ["mask"], ["fraction"], axes=[2, 3], keepdims=0))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "cloud-screen",
        [value("tile", TensorProto.UINT8, ["batch", 4, 64, 64])],
        [value("mask", TensorProto.FLOAT, ["batch", 1, 16, 16]),
         value("fraction", TensorProto.FLOAT, ["batch", 1])],
        constants,
    )
    # Opset 17 and layout 8 are read by every ONNX Runtime from 1.14 on.
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                             producer_name="groundtrack")
    checker.check_model(made, full_check=True)
    return made.SerializeToString()


def f1(wanted, found):
    hits = (wanted & found).sum()
    return 2 * hits / (wanted.sum() + found.sum())


def by_statistics(pixels):
    """The threshold that scoring falls back to where no model runs."""
    red, green, blue, infrared = numpy.moveaxis(pixels.astype(numpy.float32), 1, 0)
    most = numpy.maximum.reduce([red, green, blue, infrared, numpy.ones_like(red)])
    least = numpy.minimum.reduce([red, green, blue, infrared])
    bright = numpy.clip((blue - 70) / 60, 0, 1)
    cloudy = bright * numpy.clip((least / most - 0.5) / 0.25, 0, 1) > 0.5
    return cloudy.reshape(len(pixels), 16, 4, 16, 4).mean((2, 4))


def measures(truth, mask):
    cells, said = truth > 0.5, mask > 0.5
    fraction, guess = truth.mean((1, 2)), mask.mean((1, 2))
    return {
        "cell accuracy": (cells == said).mean(),
        "cell F1": f1(cells, said),
        "cloud fraction, mean absolute error": abs(fraction - guess).mean(),
        f"tile cloudier than {CLOUDY_ABOVE}, F1":
            f1(fraction > CLOUDY_ABOVE, guess > CLOUDY_ABOVE),
    }


def main():
    rng = numpy.random.default_rng(SEED)
    pixels, truth = tiles.tiles(SEED, TRAINING_TILES, DIM)
    which = numpy.repeat(numpy.arange(TRAINING_TILES), CELLS_A_TILE)
    cells = (which, rng.integers(16, size=which.shape), rng.integers(16, size=which.shape))
    layers = train(patches(pixels, cells), truth[cells], rng)
    # Weights of units that died decay to denormal numbers, on which a processor is a hundred
    # times slower.
    layers = [[numpy.where(abs(p) < 1e-9, numpy.float32(0), p) for p in layer] for layer in layers]

    made = export(layers)
    run = package.session(made)
    pixels, truth = tiles.tiles(SEED + 1, TEST_TILES)
    mask, fraction = run.run(["mask", "fraction"], {"tile": pixels})
    grid = numpy.meshgrid(range(4), range(16), range(16), indexing="ij")
    direct = forward(layers, patches(pixels, [axis.ravel() for axis in grid]))[-1]
    assert abs(mask[:4].ravel() - direct.ravel()).max() < 1e-4, "the graph is not the model"
    assert abs(fraction[:, 0] - mask.mean((1, 2, 3))).max() < 1e-5

    generated = f"{TEST_TILES} generated tiles of another seed, without dim clouds"
    reported = [(m, generated, v) for m, v in measures(truth, mask[:, 0]).items()]
    dim_pixels, dim_truth = tiles.tiles(SEED + 2, TEST_TILES // 2, 1)
    dim_mask = run.run(["mask"], {"tile": dim_pixels})[0]
    dim = f"{TEST_TILES // 2} generated tiles whose clouds are all dim"
    reported += [(m, dim, v) for m, v in measures(dim_truth, dim_mask[:, 0]).items()]
    fallback = "tiles without dim clouds, by the threshold without a model"
    reported += [(m, fallback, v) for m, v in measures(truth, by_statistics(pixels)).items()]
    for measure, on, value in reported:
        print(f"{measure:36} {value:.3f}  {on}")

    manifest = {
        "name": "cloud-screen",
        "version": "1.1.0",
        "description": "Says how much of a tile is under cloud, and where.",
        "tasks": ["cloud-screen/1", "cloud-mask/1"],
        "inputs": [{
            "name": "tile", "datatype": "UINT8", "shape": [-1, 4, 64, 64],
            "unit": "reflectance times 255; the graph scales it",
            "elements": ["red", "green", "blue", "near infrared"],
        }],
        "outputs": [
            {"name": "mask", "datatype": "FP32", "shape": [-1, 1, 16, 16],
             "unit": "clouded share of a cell of 4 x 4 pixels, 0 to 1"},
            {"name": "fraction", "datatype": "FP32", "shape": [-1, 1],
             "unit": "clouded share of the tile, 0 to 1"},
        ],
        "max_batch": 64,
        "parameters": {"cloudy_above": CLOUDY_ABOVE},
        "bounds": {"cloudy_above": [0.05, 0.95]},
        "provenance": {
            "trained_on": f"{TRAINING_TILES} generated tiles (onboard/model/training/tiles.py); "
                          f"no real image; {DIM:.0%} of them with dim clouds",
            "script": "onboard/model/training/train_clouds.py",
            "seed": SEED,
            "tools": "numpy 2.4.6, onnx 1.23.2",
            "licence": "MIT OR Apache-2.0",
            "credit": "",
            "limits": "Learned and scored on generated tiles only, which hold no snow, ice, sun "
                      "glint or city: its scores say nothing about a real imager, for "
                      "which it must be trained again.",
        },
        "scores": [{"measure": m, "on": on, "value": round(float(v), 4)} for m, on, v in reported],
    }
    share = truth.mean((1, 2))
    partial = int(numpy.argmin(abs(share - 0.5)))
    clear = int(numpy.argmin(share))
    questions = {f"generated tile, {100 * share[at]:.0f} % cloud": [pixels[at:at + 1]]
                 for at in (partial, clear)}
    package.write(manifest, made, questions)


if __name__ == "__main__":
    main()

"""Makes the twin of `cloud-screen` in 8-bit whole numbers and writes its package.

    python quantise_clouds.py

Weights and activations are quantised (QDQ), calibrated on generated tiles that neither taught nor
score. The committed package is the source: what the twin says is compared with it on its committed
known answers and on the tiles that it was scored on.
"""

import json
import os
import pathlib
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"

import numpy
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static)
from onnxruntime.quantization.shape_inference import quant_pre_process

import package
import tiles
import train_clouds

CALIBRATION_TILES = 200
# Processors differ in how they round and saturate products of 8 bits.
TOLERANCE = 0.06
SOURCE = package.PACKAGES / "cloud-screen"


class Tiles(CalibrationDataReader):
    def __init__(self):
        pixels, _ = tiles.tiles(train_clouds.SEED + 3, CALIBRATION_TILES, train_clouds.DIM)
        self.left = iter([{"tile": pixels[at:at + 20]} for at in range(0, len(pixels), 20)])

    def get_next(self):
        return next(self.left, None)


def quantised():
    with tempfile.TemporaryDirectory() as folder:
        prepared, made = (pathlib.Path(folder) / name for name in ("prepared", "made"))
        quant_pre_process(SOURCE / "model.onnx", prepared, skip_symbolic_shape=True)
        # Products of two signed bytes don't saturate where a processor sums pairs in 16 bits.
        quantize_static(
            prepared, made, Tiles(), quant_format=QuantFormat.QDQ, per_channel=True,
            reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax)
        return made.read_bytes()


def known(folder):
    """Questions and answers of a package's vectors."""
    array = lambda t: numpy.frombuffer(
        bytes.fromhex(t["data"]), package.TYPES[t["datatype"]]).reshape(t["shape"])
    for vector in json.loads((folder / "vectors.json").read_bytes())["vectors"]:
        outputs = {t["name"]: array(t) for t in vector["outputs"]}
        yield vector["name"], array(vector["inputs"][0]), outputs


def main():
    package.check(SOURCE)
    source = json.loads((SOURCE / "manifest.json").read_bytes())
    made = quantised()
    run, whole = package.session(made), package.session((SOURCE / "model.onnx").read_bytes())
    reported, questions = [], {}
    for name, pixels, wanted in known(SOURCE):
        mask, fraction = run.run(["mask", "fraction"], {"tile": pixels})
        cells = ((mask > 0.5) == (wanted["mask"] > 0.5)).mean()
        reported += [
            ("cells on the same side of one half", f"known answer of cloud-screen: {name}", cells),
            ("cloud fraction, difference", f"known answer of cloud-screen: {name}",
             abs(fraction - wanted["fraction"]).max())]
        questions[name] = [pixels]
    test = {
        "without dim clouds": tiles.tiles(train_clouds.SEED + 1, train_clouds.TEST_TILES),
        "whose clouds are all dim":
            tiles.tiles(train_clouds.SEED + 2, train_clouds.TEST_TILES // 2, 1)}
    for what, (pixels, truth) in test.items():
        mask, of_whole = (of.run(["mask"], {"tile": pixels})[0][:, 0] for of in (run, whole))
        on = f"{len(pixels)} generated tiles {what}"
        reported += [(m, on, v) for m, v in train_clouds.measures(truth, mask).items()]
        same = ((mask > 0.5) == (of_whole > 0.5)).mean()
        reported.append(("cells on the same side of one half as cloud-screen", on, same))
    for measure, on, value in reported:
        print(f"{measure:50} {value:.4f}  {on}")
    manifest = {key: value for key, value in source.items() if key not in ("format", "files")}
    manifest |= {
        "name": "cloud-screen-int8",
        "description": "The cloud screen in 8-bit whole numbers: faster, a little less exact.",
        "provenance": source["provenance"] | {
            "script": "onboard/model/training/quantise_clouds.py",
            "tools": source["provenance"]["tools"] + ", onnxruntime 1.31.1",
            "trained_on": f"cloud-screen {source['version']}, calibrated on {CALIBRATION_TILES} "
                          "generated tiles"},
        "scores": [{"measure": m, "on": on, "value": round(float(v), 4)} for m, on, v in reported],
    }
    package.write(manifest, made, questions, TOLERANCE)


if __name__ == "__main__":
    main()

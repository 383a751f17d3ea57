"""Writes series and their eighteen OPS-SAT-AD features for the test of the Rust extractor.

    python golden_features.py

Computed with scipy and numpy, as the dataset's published generator does; what that leaves open
(a series without variance, the sampling interval) is settled as onboard/src/score/features.rs says.
"""

import json
import pathlib

import numpy
from scipy.signal import find_peaks
from scipy.stats import kurtosis, skew

from train_telemetry import NAMES

OUT = pathlib.Path(__file__).resolve().parents[2] / "src" / "score" / "features.golden.json"


def peaks(x):
    return len(find_peaks(x, prominence=0.1 * (x.max() - x.min()))[0])


def smooth(x, width):
    return numpy.convolve(x, numpy.ones(width) / width, mode="same")


def features(times_ns, x):
    times = (times_ns - times_ns[0]) / 1e9
    gaps, duration = numpy.diff(times), times[-1]
    flat = x.var() <= (numpy.finfo(float).eps * x.mean()) ** 2
    values = {
        "mean": x.mean(), "var": x.var(), "std": x.std(),
        "kurtosis": 0 if flat else kurtosis(x), "skew": 0 if flat else skew(x),
        "n_peaks": peaks(x),
        "smooth10_n_peaks": peaks(smooth(x, 10)), "smooth20_n_peaks": peaks(smooth(x, 20)),
        "diff_peaks": peaks(numpy.diff(x)), "diff2_peaks": peaks(numpy.diff(x, n=2)),
        "diff_var": numpy.diff(x).var(), "diff2_var": numpy.diff(x, n=2).var(),
        "gaps_squared": (gaps ** 2).sum(), "len_weighted": duration / (len(x) - 1) * len(x),
        "var_div_duration": x.var() / duration, "var_div_len": x.var() / len(x),
        "duration": duration, "len": len(x),
    }
    return [float(values[name]) for name in NAMES]


def main():
    rng = numpy.random.default_rng(7)
    t = numpy.arange(128)
    series = {
        "noise": rng.normal(size=128),
        "a magnetometer's wave": 2e-5 * numpy.sin(t / 17) + 4e-7 * rng.normal(size=128),
        "a random walk": rng.normal(size=128).cumsum() + 20,
        "spikes": numpy.where(t % 31 == 5, 3.0, 0.1) + 0.01 * rng.normal(size=128),
        "steps of a coarse converter": numpy.round(4 * numpy.sin(t / 9)) / 4,
        "a step": numpy.where(t < 80, 8.1, 6.4) + 0.02 * rng.normal(size=128),
        "eclipse": numpy.maximum(0, numpy.sin(t / 20)),
        "shorter than the kernels": rng.normal(size=7),
        "between the kernels": rng.normal(size=15),
        "a long one": rng.normal(size=600).cumsum(),
    }
    out = []
    for index, (name, x) in enumerate(series.items()):
        step = (1_000_000_000, 5_000_000_000, 200_000_000)[index % 3]
        gaps = numpy.where(rng.random(len(x)) < 0.05, 4 * step, step)
        times = 1_700_000_000_000_000_000 + gaps.cumsum()
        x = numpy.array([float(f"{v:.9g}") for v in x])
        out.append({"name": name, "times_ns": times.tolist(), "values": x.tolist(),
                    "features": features(times, x)})
    OUT.write_text(json.dumps(out) + "\n")
    print(f"wrote {OUT.name} ({OUT.stat().st_size} bytes)")


if __name__ == "__main__":
    main()

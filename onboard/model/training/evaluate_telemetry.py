"""Measures the telemetry model as honestly as OPS-SAT-AD allows, and writes docs/anomaly-model.md.

    GROUNDTRACK_DATA=../../../../shared/data python evaluate_telemetry.py [--seeds 10] [--write]

Three splits: the published one, five folds in the file's order, and each channel left out in turn.
Whatever is chosen (weight decay, committee size, threshold) is chosen inside each training part, by
five ordered folds of it; the test parts are looked at once. Beside the model stands a scorer without
labels and without learning: how far the same eleven quantities are from the training part's medians.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # sums in another order would give another model

import argparse
import json
import pathlib
import sys

import numpy
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import KFold

from train_telemetry import CANDIDATES, Model, choose, derive, load, threshold_of

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "anomaly-model.md"
START, END = "<!-- measured -->", "<!-- end of measured -->"


class Distance:
    """The largest robust distance of a quantity from the training part's median."""

    def __init__(self, derived):
        self.middle = numpy.median(derived, 0)
        spread = 1.4826 * numpy.median(abs(derived - self.middle), 0)
        self.spread = numpy.maximum(spread, 1e-3)

    def score(self, derived):
        return (abs(derived - self.middle) / self.spread).max(1)


def splits(train, channels):
    """Name, then (training rows, test rows) of each of its parts."""
    every = numpy.arange(len(train))
    yield "published split", [(every[train], every[~train])]
    yield "5 ordered folds", list(KFold(5).split(every))
    yield "each channel left out", [(every[channels != c], every[channels == c])
                                    for c in sorted(set(channels))]


def pooled(parts, labels, score):
    """F1 and AUC-PR over all test parts together. `score` gives scores and decisions."""
    scores, said, truth = [], [], []
    for index, (fit, test) in enumerate(parts):
        found, decided = score(index, fit, test)
        # Parts have thresholds of their own for F1; AUC-PR compares their probabilities as they are.
        scores.append(found)
        said.append(decided)
        truth.append(labels[test])
    truth = numpy.concatenate(truth)
    return (f1_score(truth, numpy.concatenate(said)),
            average_precision_score(truth, numpy.concatenate(scores)))


def row(values):
    values = numpy.array(values)
    text = lambda column: (f"{numpy.median(values[:, column]):.3f} "
                           f"({values[:, column].min():.3f}-{values[:, column].max():.3f})")
    return text(0), text(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    features, labels, train, channels, _ = load()
    derived = derive(features)
    lines = ["| split | segments tested, anomalous | model F1 | model AUC-PR "
             "| statistics F1 | statistics AUC-PR | chosen in training |",
             "|---|---|---|---|---|---|---|"]
    for name, parts in splits(train, channels):
        chosen = [choose(derived[fit], labels[fit]) for fit, _ in parts]
        print(name, chosen, file=sys.stderr, flush=True)

        def by_model(seed):
            def score(index, fit, test):
                settings, threshold = chosen[index]
                model = Model(derived[fit], labels[fit], *settings, seed=seed)
                found = model.score(derived[test])
                return found, found > threshold
            return score

        def by_statistics(_, fit, test):
            judge = Distance(derived[fit])
            threshold = threshold_of(labels[fit], judge.score(derived[fit]))
            found = judge.score(derived[test])
            return found, found > threshold

        model = row([pooled(parts, labels, by_model(seed)) for seed in range(options.seeds)])
        statistics = pooled(parts, labels, by_statistics)
        tested = numpy.concatenate([test for _, test in parts])
        often = sorted({str(settings) for settings, _ in chosen})
        limits = [threshold for _, threshold in chosen]
        lines.append(f"| {name} | {len(tested)}, {labels[tested].sum()} | {model[0]} | {model[1]} "
                     f"| {statistics[0]:.3f} | {statistics[1]:.3f} "
                     f"| {' '.join(often)}, threshold {min(limits):.2f}-{max(limits):.2f} |")
        print("\n".join(lines[-1:]), file=sys.stderr, flush=True)
    print("\n".join(lines))
    print(json.dumps({"seeds": options.seeds, "candidates": CANDIDATES}), file=sys.stderr)
    if options.write:
        page = PAGE.read_text()
        before, rest = page.split(START)
        after = rest.split(END)[1]
        PAGE.write_text(before + START + "\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()

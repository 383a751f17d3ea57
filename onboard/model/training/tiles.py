"""Generates imager tiles with known clouds, by the recipe in README.md."""

import numpy

SIDE = 64
#          red   green blue  near infrared
WATER = (0.03, 0.05, 0.07, 0.02)
VEGETATION = (0.05, 0.09, 0.05, 0.40)
SOIL = (0.24, 0.19, 0.14, 0.32)
DESERT = (0.42, 0.35, 0.26, 0.48)
PATH = (0.015, 0.025, 0.045, 0.008)
CLOUD = (0.97, 0.98, 1.0, 0.95)


def smoothstep(low, high, x):
    t = numpy.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def noise(rng, scale, octaves, gain):
    """Value noise of 0 to 1 over a tile."""
    total, weight, amplitude = 0.0, 0.0, 1.0
    for _ in range(octaves):
        count = int(SIDE / scale) + 2
        lattice = rng.random((count, count))
        position = numpy.arange(SIDE) / scale
        cell = position.astype(int)
        t = position - cell
        t = t * t * (3 - 2 * t)
        rows = lattice[cell] * (1 - t)[:, None] + lattice[cell + 1] * t[:, None]
        total += amplitude * (rows[:, cell] * (1 - t) + rows[:, cell + 1] * t)
        weight += amplitude
        scale, amplitude = scale / 2, amplitude * gain
    return total / weight


def stretch(x):
    return numpy.clip((x - 0.5) * 2.2 + 0.5, 0, 1)


def bands(weights):
    return numpy.asarray(weights)[:, None, None]


def ground(rng):
    height = stretch(noise(rng, rng.uniform(20, 48), 4, 0.5))
    moisture = stretch(noise(rng, rng.uniform(12, 32), 3, 0.5))
    level = 1.2 if rng.random() < 0.3 else rng.uniform(-0.2, 0.45)
    water = 1 - smoothstep(level - 0.02, level + 0.02, height)
    dry = smoothstep(0.35, 0.65, moisture + rng.uniform(0, 1) - 0.5)
    soil = DESERT if rng.random() < 0.1 else SOIL
    land = bands(VEGETATION) * (1 - dry) + bands(soil) * dry
    cover = bands(WATER) * water + land * (1 - water)
    texture = noise(rng, 6, 3, 0.6)
    return cover * rng.uniform(0.75, 1.1) * (0.85 + 0.3 * texture) + bands(PATH)


def opacity(rng):
    kind = rng.random()
    field = noise(rng, rng.uniform(24, 56), 5, 0.55)
    softness = rng.uniform(0.03, 0.10)
    peak = rng.uniform(0.35, 0.75) if rng.random() < 0.15 else rng.uniform(0.75, 1.0)
    if kind < 0.30:
        return numpy.zeros((SIDE, SIDE))
    if kind < 0.45:
        threshold = field.min() - 0.1
    else:
        threshold = numpy.quantile(field, 1 - rng.uniform(0.05, 0.95))
    return peak * smoothstep(threshold - softness / 2, threshold + softness / 2, field)


def tile(rng, dim=0):
    """One tile, u8 [4, 64, 64], and its truth, bool [64, 64]; a share `dim` has dim clouds."""
    below, cloud = ground(rng), opacity(rng)
    brightness = rng.uniform(0.55, 0.9) * (0.85 + 0.3 * noise(rng, 10, 4, 0.55))
    colour = bands(CLOUD)
    if dim and rng.random() < dim:
        brightness = rng.uniform(0.2, 0.55) * (0.95 + 0.1 * noise(rng, 24, 3, 0.55))
        colour = colour * (1 + rng.uniform(0, 0.3) * bands((0, 0.5, 1, -0.5)))
    across = numpy.maximum(numpy.arange(SIDE) - 3, 0)
    down = numpy.maximum(numpy.arange(SIDE) - 2, 0)
    below = below * (1 - 0.45 * cloud[down][:, across])
    seen = below * (1 - cloud) + colour * brightness * cloud
    seen = seen + rng.normal(size=seen.shape) * (0.004 + 0.01 * seen)
    seen = seen + rng.normal(scale=0.002, size=(4, 1, SIDE))
    return numpy.round(numpy.clip(seen, 0, 1) * 255).astype(numpy.uint8), cloud > 0.3


def tiles(seed, count, dim=0):
    """Tiles [count, 4, 64, 64] and the clouded share of each cell [count, 16, 16]."""
    rng = numpy.random.default_rng(seed)
    made = [tile(rng, dim) for _ in range(count)]
    pixels = numpy.stack([pair[0] for pair in made])
    truth = numpy.stack([pair[1] for pair in made]).astype(numpy.float32)
    return pixels, truth.reshape(count, 16, 4, 16, 4).mean((2, 4))

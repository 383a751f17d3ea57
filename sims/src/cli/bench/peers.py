# Piped to python3 by `orbitsim bench`, behind a line `load = {...}`. Prints one JSON document: how
# much python-sgp4 and Skyfield do in a second of the processor, the median of the rounds.
import json
import statistics
import time


def rate(work):
    rates = []
    for _ in range(load["rounds"]):
        start = time.process_time()
        count = work()
        rates.append(count / max(time.process_time() - start, 1e-9))
    return statistics.median(rates)


def satellites(sets):
    from sgp4.api import WGS72, Satrec

    found = []
    for epoch, drag, eccentricity, argument, inclination, anomaly, motion, node in sets:
        satellite = Satrec()
        satellite.sgp4init(
            WGS72, "i", 1, epoch, drag, 0.0, 0.0, eccentricity, argument, inclination, anomaly, motion, node
        )
        found.append(satellite)
    return found


out = {"missing": []}
try:
    import numpy
    import sgp4
    from sgp4.api import SatrecArray

    out["sgp4"] = sgp4.__version__
    near, deep = satellites(load["near"]), satellites(load["deep"])
    many = SatrecArray(near)
    # Days since 1949-12-31 that the elements count from, as Julian dates.
    first = load["near"][0][0] + 2433281.5
    minutes = numpy.arange(60) / 1440.0
    out["many"] = rate(lambda: many.sgp4(numpy.full(60, first), minutes)[0].size)
    long = numpy.arange(2000) / 1440.0
    whole = numpy.full(2000, first)
    out["one"] = rate(lambda: near[0].sgp4_array(whole, long)[0].size)
    out["half_day"] = rate(lambda: deep[0].sgp4_array(whole, long)[0].size)
except ImportError:
    out["missing"].append("sgp4")
try:
    import skyfield
    from skyfield.api import EarthSatellite, load as files, wgs84

    out["skyfield"] = ".".join(str(part) for part in skyfield.VERSION)
    scale = files.timescale(builtin=True)
    few = [EarthSatellite.from_satrec(of, scale) for of in satellites(load["near"][:6])]
    places = [wgs84.latlon(lat, lon, 100.0) for lat, lon in load["places"][:4]]
    start = scale.tt_jd(load["near"][0][0] + 2433281.5)
    end = scale.tt_jd(start.tt + 1.0)

    def passes():
        for satellite in few:
            for place in places:
                satellite.find_events(place, start, end, altitude_degrees=5.0)
        return len(few) * len(places)

    out["passes"] = rate(passes)
except ImportError:
    out["missing"].append("skyfield")
print(json.dumps(out))

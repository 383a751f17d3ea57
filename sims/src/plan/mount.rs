//! How an antenna turns: the axes of its mount, how fast they go, and what they can't follow.

use codecs::time::Tai;

/// Where an antenna points.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pointing {
    /// Degrees from north over east.
    pub azimuth_deg: f64,
    /// Degrees above the horizon.
    pub elevation_deg: f64,
}

/// A mount and its greatest rates, degrees a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mount {
    /// Points anywhere at once: an array, or an antenna that looks everywhere.
    Free,
    /// A vertical axis under a horizontal one; its keyhole is the zenith.
    AzimuthElevation {
        /// Of azimuth and elevation.
        rates_deg_s: [f64; 2],
    },
    /// A horizontal axis that lies to the north (or to the east) under one across; its keyholes are
    /// where the lower axis meets the horizon.
    XY {
        /// Of the lower and the upper axis.
        rates_deg_s: [f64; 2],
        /// Whether the lower axis lies east and west.
        east: bool,
    },
}

impl Mount {
    /// The rates of both axes; none where nothing has to turn.
    pub fn rates_deg_s(&self) -> Option<[f64; 2]> {
        match self {
            Self::Free => None,
            Self::AzimuthElevation { rates_deg_s } | Self::XY { rates_deg_s, .. } => {
                Some(*rates_deg_s)
            }
        }
    }

    /// The angles of both axes, degrees; the first goes around.
    pub fn axes_deg(&self, at: Pointing) -> [f64; 2] {
        match self {
            Self::Free | Self::AzimuthElevation { .. } => [at.azimuth_deg, at.elevation_deg],
            Self::XY { east: across, .. } => {
                let (sin_el, cos_el) = at.elevation_deg.to_radians().sin_cos();
                let (sin_az, cos_az) = at.azimuth_deg.to_radians().sin_cos();
                let (east, north) = (sin_az * cos_el, cos_az * cos_el);
                let (along, beside) = if *across { (east, north) } else { (north, east) };
                [beside.atan2(sin_el).to_degrees(), along.clamp(-1.0, 1.0).asin().to_degrees()]
            }
        }
    }

    /// Nanoseconds from one direction to another, both axes at once at full rate.
    pub fn slew_ns(&self, from: Pointing, to: Pointing) -> i64 {
        let Some(rates) = self.rates_deg_s() else { return 0 };
        let (from, to) = (self.axes_deg(from), self.axes_deg(to));
        let first = turn_deg(from[0], to[0]).abs() / rates[0];
        let second = (to[1] - from[1]).abs() / rates[1];
        // Rounded up, so that what is planned is never short.
        (first.max(second) * 1e9).ceil() as i64
    }

    /// The longest slew there is.
    pub fn slew_ns_max(&self) -> i64 {
        let Some(rates) = self.rates_deg_s() else { return 0 };
        (180.0 / rates[0].min(rates[1]) * 1e9).ceil() as i64
    }

    /// The parts of a stretch of time in which the mount can't follow. `look` is where the
    /// spacecraft stands, `top` when it is highest.
    ///
    /// Where an axis would have to turn faster than it can, the antenna leaves the spacecraft and
    /// turns ahead at full rate until it meets it again: the shortest such stretch is lost.
    pub fn lost(
        &self,
        look: &impl Fn(Tai) -> Pointing,
        from: Tai,
        to: Tai,
        top: Tai,
    ) -> Vec<(Tai, Tai)> {
        let Some(rates) = self.rates_deg_s() else { return Vec::new() };
        let mut lost: Vec<(Tai, Tai)> = Vec::new();
        for (axis, rate) in rates.into_iter().enumerate() {
            let angle = |at: Tai| self.axes_deg(look(at))[axis];
            lost.extend(Follow { angle, rate, from, to }.lost(top));
        }
        lost.sort();
        let mut merged: Vec<(Tai, Tai)> = Vec::new();
        for (start, end) in lost {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }
}

/// Degrees from one angle to another, the short way.
fn turn_deg(from: f64, to: f64) -> f64 {
    (to - from + 180.0).rem_euclid(360.0) - 180.0
}

/// Half the base of the difference that gives an axis's rate.
const RATE_NS: i64 = 20_000_000;
/// Widest grid on which rates are looked at.
const STEP_NS: i64 = 2_000_000_000;
/// Most points of that grid: a spacecraft that is in view for hours turns no axis quickly.
const STEPS: i64 = 600;
/// Points on either side of a stretch that is too fast, for where the antenna leaves and meets.
const PARTS: i64 = 250;

/// One axis that follows an angle.
struct Follow<F> {
    angle: F,
    rate: f64,
    from: Tai,
    to: Tai,
}

impl<F: Fn(Tai) -> f64> Follow<F> {
    fn is_too_fast(&self, at: Tai) -> bool {
        let (before, after) = (at.plus(-RATE_NS), at.plus(RATE_NS));
        turn_deg((self.angle)(before), (self.angle)(after)).abs()
            > self.rate * 2e-9 * RATE_NS as f64
    }

    fn lost(&self, top: Tai) -> Vec<(Tai, Tai)> {
        let length = self.to.since(self.from);
        let step = (length / STEPS).max(STEP_NS.min(length)).max(1);
        let mut times: Vec<Tai> =
            (0..=length / step).map(|at| self.from.plus(at * step)).chain([top, self.to]).collect();
        times.retain(|at| (self.from..=self.to).contains(at));
        times.sort();
        times.dedup();
        let fast: Vec<bool> = times.iter().map(|at| self.is_too_fast(*at)).collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < times.len() {
            if !fast[at] {
                at += 1;
                continue;
            }
            let last = (at..times.len()).take_while(|at| fast[*at]).last().unwrap_or(at);
            let start = match at.checked_sub(1) {
                Some(slow) => self.edge(times[slow], times[at]),
                None => self.from,
            };
            let end = match times.get(last + 1) {
                Some(slow) => self.edge(*slow, times[last]),
                None => self.to,
            };
            found.push(self.around(start, end));
            at = last + 1;
        }
        found
    }

    /// Between an instant that the axis follows and one that it doesn't: the last that it does.
    fn edge(&self, mut slow: Tai, mut fast: Tai) -> Tai {
        while fast.since(slow).abs() > 10_000_000 {
            let middle = slow.plus(fast.since(slow) / 2);
            if self.is_too_fast(middle) { fast = middle } else { slow = middle }
        }
        slow
    }

    /// The shortest stretch around one that is too fast over which the axis at full rate gets as far
    /// as the spacecraft: it leaves where it can't follow any more and catches up, or turns ahead and
    /// waits where it can follow again. Anything between takes longer.
    fn around(&self, start: Tai, end: Tai) -> (Tai, Tai) {
        let behind = self.caught(start, end, self.to);
        let ahead = self.caught(end, start, self.from);
        if behind.since(start) <= end.since(ahead) { (start, behind) } else { (ahead, end) }
    }

    /// Where an axis at full rate from `first` on meets the spacecraft, somewhere from `beyond` to
    /// `last`: there if nowhere before.
    fn caught(&self, first: Tai, beyond: Tai, last: Tai) -> Tai {
        let reach = (360.0 / self.rate * 1e9) as i64;
        let last = match last > first {
            true => last.min(beyond.plus(reach)),
            false => last.max(beyond.plus(-reach)),
        };
        let mut turned: f64 = self.way(first, beyond).map(|(_, turned)| turned).sum();
        for (at, part) in self.way(beyond, last) {
            turned += part;
            if self.rate * at.since(first).abs() as f64 / 1e9 >= turned.abs() {
                return at;
            }
        }
        last
    }

    /// Steps from one instant to another, and how far the axis turns in each.
    fn way(&self, from: Tai, to: Tai) -> impl Iterator<Item = (Tai, f64)> {
        let at = move |part: i64| from.plus(to.since(from) / PARTS * part);
        (1..=PARTS).map(move |part| {
            (at(part), turn_deg((self.angle)(at(part - 1)), (self.angle)(at(part))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNT: Mount = Mount::AzimuthElevation { rates_deg_s: [10.0, 10.0] };

    fn at(seconds: f64) -> Tai {
        Tai((seconds * 1e9) as i64)
    }

    /// A spacecraft on a straight line at height 1, `miss` beside the zenith, with one height in
    /// `100 s`.
    fn line(miss: f64) -> impl Fn(Tai) -> Pointing {
        move |time: Tai| {
            let along = time.0 as f64 / 1e9 / 100.0;
            Pointing {
                azimuth_deg: along.atan2(miss).to_degrees().rem_euclid(360.0),
                elevation_deg: 1.0f64.atan2(along.hypot(miss)).to_degrees(),
            }
        }
    }

    #[test]
    fn a_low_pass_loses_nothing_and_a_high_one_its_keyhole() {
        let lost = |miss| MOUNT.lost(&line(miss), at(-300.0), at(300.0), at(0.0));
        // The azimuth turns by at most 0.01 / miss radians a second.
        assert_eq!(lost(0.06), []);
        let [(from, to)] = lost(0.01)[..] else { panic!("one keyhole") };
        // The azimuth is atan(t): it turns by 10 degrees a second at 2.174 s before the zenith, and
        // an axis that turns so from there on is met where atan(t) + 65.3 = 10 (t + 2.174).
        let [from, to] = [from, to].map(|at| at.0 as f64 / 1e9);
        assert!((from + 2.174).abs() < 0.02, "{from}");
        assert!((to - 12.9).abs() < 0.3, "{to}");
        let turned = to.atan().to_degrees() - from.atan().to_degrees();
        assert!((turned - 10.0 * (to - from)).abs() < 2.0, "{turned} degrees");
        assert_eq!(Mount::Free.lost(&line(0.001), at(-300.0), at(300.0), at(0.0)), []);
    }

    #[test]
    fn the_other_mount_follows_through_the_zenith() {
        for east in [false, true] {
            let mount = Mount::XY { rates_deg_s: [3.0, 3.0], east };
            assert_eq!(mount.lost(&line(0.0001), at(-300.0), at(300.0), at(0.0)), []);
        }
        // Over the end of its lower axis: north, at the horizon.
        let low = |time: Tai| Pointing {
            azimuth_deg: (time.0 as f64 / 1e9).rem_euclid(360.0),
            elevation_deg: 0.5,
        };
        let mount = |east| Mount::XY { rates_deg_s: [3.0, 3.0], east };
        assert_eq!(mount(false).lost(&low, at(-30.0), at(30.0), at(0.0)).len(), 1);
        assert_eq!(mount(true).lost(&low, at(-30.0), at(30.0), at(0.0)).len(), 0);
    }

    #[test]
    fn slews_take_the_short_way_and_the_slower_axis() {
        let point = |azimuth_deg, elevation_deg| Pointing { azimuth_deg, elevation_deg };
        assert_eq!(MOUNT.slew_ns(point(350.0, 10.0), point(20.0, 20.0)), 3_000_000_000);
        assert_eq!(MOUNT.slew_ns(point(0.0, 10.0), point(1.0, 60.0)), 5_000_000_000);
        assert_eq!(Mount::Free.slew_ns(point(0.0, 10.0), point(180.0, 60.0)), 0);
        let xy = Mount::XY { rates_deg_s: [1.0, 1.0], east: false };
        assert!((xy.slew_ns(point(90.0, 45.0), point(270.0, 45.0)) - 90_000_000_000).abs() < 10);
    }
}

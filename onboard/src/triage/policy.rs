//! The policy: rules in order, of which the first that fits a case decides.
//!
//! ```toml
//! housekeeping_percent = 20        # of what a contact sends, while any of it waits
//! [[rule]]
//! name = "cloudy"
//! class = "tile"                   # tile or telemetry
//! score_min = 0.7                  # cloud fraction, or how anomalous: 0 to 1
//! action = "summary"               # first, summary, compressed, parts, keep or drop
//! original = "keep"                # what becomes of the tile: drop, or keep until asked for
//! value = 110
//! ```
//!
//! | key | fits |
//! |---|---|
//! | `apids` | packets of these application processes; all where empty |
//! | `score_min`, `score_max` | a score of at least, of less than this |
//! | `age_min_s`, `age_max_s` | what was taken at least, less than so long ago |
//! | `contact_min_s`, `contact_max_s` | at least, less than so much left of a contact; 0 between contacts |
//!
//! `value` is 1 to 229, at a score of 0, and runs to `value_at_1` at a score of 1; where
//! `reference_bytes` is given it is the value of so many bytes, and half the bytes for the same are
//! worth four more. `deadline_s` orders what is worth the same: the earliest goes first.
//! `max_error` lets samples of a tile differ by so much.

use anyhow::{anyhow, ensure};
use serde::Deserialize;

use super::{ANOMALOUS, BULK, CLEAR, FIRST, HOUSEKEEPING, OVERCAST, RECORDS, SUMMARY};

/// Most rules of a policy.
pub const RULES_MAX: usize = 64;
/// Longest name of a rule, bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// What decisions that no rule made are counted as.
pub const USUAL: &str = "usual";
/// Most that a sample may differ, counts: a sixth of a percent of 16 bits are 100.
pub const MAX_ERROR_MAX: u16 = 1023;
/// Points for half the bytes.
const HALF_THE_BYTES: f32 = 4.0;
/// Most points, either way, that size is worth.
const SIZE_POINTS_MAX: f32 = 32.0;

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A tile of an imager or of an image file.
    Tile,
    /// A block of recorded packets.
    Telemetry,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Whole, before what is worth less than [`FIRST`].
    First,
    /// Mask, regions, features and thumbnail go down in its place.
    Summary,
    /// Whole, squeezed.
    Compressed,
    /// The cells that the mask calls clear, squeezed; whole where it calls all of them so.
    Parts,
    /// It stays on board, and goes down when it is asked for.
    Keep,
    /// Nothing of it but the void that says so.
    Drop,
}

/// What becomes of a tile whose summary, or whose parts, go down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Original {
    /// It is left out.
    #[default]
    Drop,
    /// It stays on board until it is asked for or its room is needed.
    Keep,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name for people and counts.
    pub name: String,
    /// What it is for.
    pub class: Class,
    /// Application processes; all where empty.
    #[serde(default)]
    pub apids: Vec<u16>,
    /// Least score, 0 to 1.
    pub score_min: Option<f32>,
    /// Score below this, 0 to 1.
    pub score_max: Option<f32>,
    /// Least age, seconds.
    pub age_min_s: Option<u64>,
    /// Age below this, seconds.
    pub age_max_s: Option<u64>,
    /// Least time left of a contact, seconds.
    pub contact_min_s: Option<u64>,
    /// Time left of a contact below this, seconds; 0 between contacts.
    pub contact_max_s: Option<u64>,
    /// What is done.
    pub action: Action,
    /// Value, 1 to 229, at a score of 0.
    pub value: Option<u8>,
    /// Value at a score of 1.
    pub value_at_1: Option<u8>,
    /// Bytes that are worth `value`.
    pub reference_bytes: Option<u32>,
    /// Seconds after which it is worth nothing; 0 where it keeps its worth.
    #[serde(default)]
    pub deadline_s: u32,
    /// How far a sample of a tile may be from what was taken.
    #[serde(default)]
    pub max_error: u16,
    /// What becomes of the tile behind a summary, or behind its parts.
    #[serde(default)]
    pub original: Original,
}

/// The rules, in order.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Share of what a contact sends, in percent, that housekeeping has while any of it waits.
    #[serde(default = "housekeeping_percent")]
    pub housekeeping_percent: u8,
    /// Rules; what none fits goes down compressed, at its class's usual value.
    #[serde(rename = "rule", default)]
    pub rules: Vec<Rule>,
}

fn housekeeping_percent() -> u8 {
    20
}

/// What is to be decided on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What it is.
    pub class: Class,
    /// Who made it.
    pub apid: u16,
    /// How cloudy, or how anomalous, 0 to 1.
    pub score: f32,
    /// Seconds since it was taken.
    pub age_s: u64,
    /// Seconds left of the contact; 0 between contacts.
    pub contact_s: u64,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision<'a> {
    /// The rule's name; none where none fitted.
    pub rule: Option<&'a str>,
    /// What is done.
    pub action: Action,
    /// Value at the reference size.
    value: u8,
    reference_bytes: Option<u32>,
    /// Seconds after which it is worth nothing; 0 where it keeps its worth.
    pub deadline_s: u32,
    /// How far a sample of a tile may be from what was taken.
    pub max_error: u16,
    /// What becomes of the tile behind a summary.
    pub original: Original,
}

impl Decision<'_> {
    /// Value of `bytes` of it: by how much less than the reference they are, more is the worth of
    /// each byte.
    pub fn priority(&self, bytes: usize) -> u8 {
        let halvings = self
            .reference_bytes
            .map_or(0.0, |reference| (reference.max(1) as f32 / bytes.max(1) as f32).log2());
        let points = (HALF_THE_BYTES * halvings).clamp(-SIZE_POINTS_MAX, SIZE_POINTS_MAX);
        (f32::from(self.value) + points).round().clamp(1.0, f32::from(RECORDS - 1)) as u8
    }
}

impl Rule {
    fn new(name: &str, class: Class, action: Action, value: u8) -> Self {
        Self {
            name: name.into(),
            class,
            apids: Vec::new(),
            score_min: None,
            score_max: None,
            age_min_s: None,
            age_max_s: None,
            contact_min_s: None,
            contact_max_s: None,
            action,
            value: Some(value),
            value_at_1: None,
            reference_bytes: None,
            deadline_s: 0,
            max_error: 0,
            original: Original::Drop,
        }
    }

    fn fits(&self, case: &Case) -> bool {
        let within = |least: Option<u64>, below: Option<u64>, of: u64| {
            least.is_none_or(|least| of >= least) && below.is_none_or(|below| of < below)
        };
        self.class == case.class
            && (self.apids.is_empty() || self.apids.contains(&case.apid))
            && self.score_min.is_none_or(|least| case.score >= least)
            && self.score_max.is_none_or(|below| case.score < below)
            && within(self.age_min_s, self.age_max_s, case.age_s)
            && within(self.contact_min_s, self.contact_max_s, case.contact_s)
    }

    /// Whether it asks for nothing but its class.
    fn fits_all(&self) -> bool {
        let scores = [self.score_min, self.score_max].iter().flatten().count();
        let times = [self.age_min_s, self.age_max_s, self.contact_min_s, self.contact_max_s];
        self.apids.is_empty() && scores == 0 && times.iter().flatten().count() == 0
    }

    fn value(&self, score: f32) -> u8 {
        let usual = match (self.class, self.action) {
            (_, Action::First) => FIRST,
            (_, Action::Summary) => SUMMARY,
            (Class::Tile, _) => CLEAR,
            (Class::Telemetry, _) => HOUSEKEEPING,
        };
        let at_0 = f32::from(self.value.unwrap_or(usual));
        let at_1 = self.value_at_1.map_or(at_0, f32::from);
        (at_0 + (at_1 - at_0) * score.clamp(0.0, 1.0)) as u8
    }

    fn check(&self) -> anyhow::Result<()> {
        let name = &self.name;
        ensure!(!name.is_empty(), "a [[rule]] without a name: give each one");
        for value in [self.value, self.value_at_1].into_iter().flatten() {
            ensure!(
                (1..RECORDS).contains(&value),
                "rule {name:?}: value = {value}: 1 to {}, what is above belongs to the flight's \
                 own records",
                RECORDS - 1
            );
        }
        for score in [self.score_min, self.score_max].into_iter().flatten() {
            ensure!((0.0..=1.0).contains(&score), "rule {name:?}: a score of {score}: 0 to 1");
        }
        ensure!(
            name.len() <= NAME_BYTES_MAX && name != USUAL,
            "rule {name:?}: a name of at most {NAME_BYTES_MAX} bytes other than {USUAL:?}"
        );
        for apid in &self.apids {
            ensure!(*apid < 2047, "rule {name:?}: apids has {apid}: 0 to 2046");
        }
        let empty = |least: Option<f64>, below: Option<f64>| {
            least.zip(below).is_some_and(|(least, below)| least >= below)
        };
        let whole = |of: Option<u64>| of.map(|of| of as f64);
        let ranges = [
            ("score", empty(self.score_min.map(f64::from), self.score_max.map(f64::from))),
            ("age", empty(whole(self.age_min_s), whole(self.age_max_s))),
            ("contact", empty(whole(self.contact_min_s), whole(self.contact_max_s))),
        ];
        if let Some((what, _)) = ranges.iter().find(|range| range.1) {
            anyhow::bail!(
                "rule {name:?} fits nothing: its least {what} is not below its {what}_max, which \
                 is left out itself"
            );
        }
        self.check_moot()?;
        let tile = self.class == Class::Tile;
        ensure!(
            tile || !matches!(self.action, Action::Summary | Action::Parts),
            "rule {name:?}: a summary, or parts, are of a tile; telemetry goes first, compressed, \
             keep or drop"
        );
        ensure!(
            tile || self.max_error == 0,
            "rule {name:?}: max_error is of a tile; telemetry comes back byte for byte"
        );
        ensure!(
            self.original == Original::Drop
                || matches!(self.action, Action::Summary | Action::Parts),
            "rule {name:?}: original = \"keep\" goes with action = \"summary\" or \"parts\""
        );
        Ok(())
    }
}

impl Rule {
    /// Keys that would be heard without a word and change nothing, or too much.
    fn check_moot(&self) -> anyhow::Result<()> {
        let name = &self.name;
        let (stays, why) = match self.action {
            Action::Drop => (true, "nothing of it goes down"),
            Action::Keep => (true, "it stays on board as it was taken, and is sent when asked for"),
            _ => (false, ""),
        };
        let words = if self.action == Action::Drop { "drop" } else { "keep" };
        let moot = [
            ("value", stays && self.value.is_some()),
            ("value_at_1", stays && self.value_at_1.is_some()),
            ("reference_bytes", stays && self.reference_bytes.is_some()),
            ("max_error", stays && self.max_error > 0),
            ("deadline_s", self.action == Action::Drop && self.deadline_s > 0),
        ];
        if let Some((key, _)) = moot.iter().find(|of| of.1) {
            anyhow::bail!("rule {name:?}: {key} says nothing with action = \"{words}\": {why}");
        }
        ensure!(
            self.max_error == 0 || self.action != Action::Summary,
            "rule {name:?}: max_error says nothing with action = \"summary\": take it out, or send \
             tiles with \"compressed\" or \"parts\""
        );
        ensure!(
            self.max_error <= MAX_ERROR_MAX,
            "rule {name:?}: max_error = {}: 0 to {MAX_ERROR_MAX} counts; more leaves no picture",
            self.max_error
        );
        ensure!(
            self.reference_bytes != Some(0),
            "rule {name:?}: reference_bytes = 0: at least 1, the bytes that `value` is meant for, or \
             leave it out"
        );
        Ok(())
    }
}

impl Policy {
    /// What is flown without a policy file: cloudy tiles as summaries, anomalies first.
    pub fn usual(cloudy_above: f32, bulk_apids: &[u16]) -> Self {
        let cloudy = Rule {
            score_min: Some(cloudy_above.next_up()),
            ..Rule::new("cloudy", Class::Tile, Action::Summary, SUMMARY)
        };
        let clear = Rule {
            value_at_1: Some(OVERCAST),
            ..Rule::new("clear", Class::Tile, Action::Compressed, CLEAR)
        };
        let anomalous = Rule {
            score_min: Some(0.5),
            ..Rule::new("anomalous", Class::Telemetry, Action::First, ANOMALOUS)
        };
        let bulk = Rule {
            apids: bulk_apids.to_vec(),
            ..Rule::new("bulk", Class::Telemetry, Action::Compressed, BULK)
        };
        let mut rules = vec![cloudy, clear, anomalous];
        // Without any, the rule would take everything.
        rules.extend((!bulk_apids.is_empty()).then_some(bulk));
        Self { housekeeping_percent: housekeeping_percent(), rules }
    }

    /// Reads and checks the text of a policy file.
    ///
    /// # Errors
    /// It holds an unknown key, or a rule contradicts itself.
    pub fn parse(file: &str, text: &str) -> anyhow::Result<Self> {
        let policy: Self = codecs::config::parse(file, text)?;
        match policy.fault() {
            None => Ok(policy),
            Some((rule, error)) => match rule.and_then(|rule| line_of(text, rule)) {
                Some(line) => Err(error.context(format!("{file}:{line}"))),
                None => Err(error.context(file.to_owned())),
            },
        }
    }

    /// Checks the rules.
    ///
    /// # Errors
    /// A rule contradicts itself, two have one name, or there are too many.
    pub fn check(&self) -> anyhow::Result<()> {
        self.fault().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What is wrong, and with which rule.
    fn fault(&self) -> Option<(Option<usize>, anyhow::Error)> {
        let count = self.rules.len();
        if self.housekeeping_percent > 99 {
            let percent = self.housekeeping_percent;
            return Some((None, anyhow!("housekeeping_percent = {percent}: 0 to 99")));
        }
        if count > RULES_MAX {
            return Some((None, anyhow!("{count} rules, at most {RULES_MAX}")));
        }
        let faults = (0..count).map(|at| (Some(at), self.check_rule(at)));
        faults.into_iter().find_map(|(at, checked)| Some((at, checked.err()?)))
    }

    fn check_rule(&self, at: usize) -> anyhow::Result<()> {
        let Some((rule, before)) = self.rules.get(..=at).and_then(<[Rule]>::split_last) else {
            return Ok(());
        };
        rule.check()?;
        let twice = before.iter().any(|other| other.name == rule.name);
        ensure!(!twice, "two rules are called {:?}: their counts would mix", rule.name);
        let all = |other: &&Rule| other.class == rule.class && other.fits_all();
        if let Some(other) = before.iter().find(all) {
            anyhow::bail!(
                "rule {:?} is never reached: {:?} before it takes all of its class",
                rule.name,
                other.name
            );
        }
        Ok(())
    }

    /// Decides on a case: the first rule that fits, or compressed at the usual value.
    pub fn decide(&self, case: &Case) -> Decision<'_> {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(case)) else {
            let value = if case.class == Class::Tile { CLEAR } else { HOUSEKEEPING };
            return Decision {
                rule: None,
                action: Action::Compressed,
                value,
                reference_bytes: None,
                deadline_s: 0,
                max_error: 0,
                original: Original::Drop,
            };
        };
        Decision {
            rule: Some(&rule.name),
            action: rule.action,
            value: rule.value(case.score),
            reference_bytes: rule.reference_bytes,
            deadline_s: rule.deadline_s,
            max_error: rule.max_error,
            original: rule.original,
        }
    }
}

/// Line of a policy file that a rule begins on, from 1.
fn line_of(text: &str, rule: usize) -> Option<usize> {
    #[derive(Deserialize)]
    struct Places {
        rule: Vec<toml::Spanned<toml::Table>>,
    }
    let places: Places = toml::from_str(text).ok()?;
    let start = places.rule.get(rule)?.span().start;
    Some(text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILE: Case = Case { class: Class::Tile, apid: 300, score: 0.1, age_s: 5, contact_s: 0 };

    fn policy(text: &str) -> Policy {
        Policy::parse("policy.toml", text).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = policy(
            r#"
            [[rule]]
            name = "stale"
            class = "tile"
            age_min_s = 86400
            action = "drop"
            [[rule]]
            name = "last minute"
            class = "tile"
            contact_min_s = 1
            contact_max_s = 60
            action = "summary"
            original = "keep"
            [[rule]]
            name = "fires"
            class = "tile"
            apids = [301]
            action = "first"
            deadline_s = 600
            [[rule]]
            name = "clear"
            class = "tile"
            score_max = 0.5
            action = "compressed"
            value = 100
            value_at_1 = 50
            max_error = 2
            "#,
        );
        let name = |case: Case| policy.decide(&case).rule.unwrap_or("none").to_owned();
        assert_eq!(name(TILE), "clear");
        assert_eq!(name(Case { age_s: 86_400, ..TILE }), "stale");
        assert_eq!(name(Case { contact_s: 59, ..TILE }), "last minute");
        assert_eq!(name(Case { contact_s: 60, ..TILE }), "clear");
        assert_eq!(name(Case { apid: 301, ..TILE }), "fires");
        assert_eq!(name(Case { score: 0.5, ..TILE }), "none");
        assert_eq!(name(Case { class: Class::Telemetry, ..TILE }), "none");
        let clear = policy.decide(&TILE);
        assert_eq!((clear.action, clear.max_error, clear.priority(9)), (Action::Compressed, 2, 95));
        let fires = policy.decide(&Case { apid: 301, ..TILE });
        assert_eq!((fires.deadline_s, fires.priority(1 << 20)), (600, FIRST));
    }

    #[test]
    fn half_the_bytes_are_worth_more_each_within_bounds() {
        let policy = policy(
            "[[rule]]\nname = \"a\"\nclass = \"tile\"\naction = \"compressed\"\nvalue = 100\n\
             reference_bytes = 16384\n",
        );
        let priority = |bytes| policy.decide(&TILE).priority(bytes);
        assert_eq!([16_384, 8192, 32_768].map(priority), [100, 104, 96]);
        assert_eq!((priority(1), priority(1 << 30)), (132, 68));
    }

    #[test]
    fn the_usual_policy_sends_anomalies_first_and_leaves_cloud_out() {
        let policy = Policy::usual(0.7, &[120]);
        policy.check().unwrap();
        assert_eq!(policy.decide(&Case { score: 0.7, ..TILE }).action, Action::Compressed);
        assert_eq!(policy.decide(&Case { score: 0.71, ..TILE }).action, Action::Summary);
        let telemetry = Case { class: Class::Telemetry, apid: 100, score: 0.0, ..TILE };
        let value = |case| policy.decide(&case).priority(100);
        assert_eq!(value(telemetry), HOUSEKEEPING);
        assert_eq!(value(Case { apid: 120, ..telemetry }), BULK);
        assert_eq!(value(Case { apid: 120, score: 0.5, ..telemetry }), ANOMALOUS);
        assert_eq!(value(TILE), CLEAR - 3);
    }

    #[test]
    fn a_rule_that_is_wrong_has_its_file_and_line() {
        let good =
            "[[rule]]\nname = \"a\"\nclass = \"tile\"\naction = \"first\"\nscore_max = 0.5\n";
        let bad = "\n# late\n[[rule]]\nname = \"b\"\nclass = \"tile\"\naction = \"drop\"\ndeadline_s = 9\n";
        let error = Policy::parse("policy.toml", &format!("{good}{bad}")).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.starts_with("policy.toml:8: rule \"b\": deadline_s"), "{said}");
        let error = Policy::parse("policy.toml", "housekeeping_percent = 100\n").unwrap_err();
        assert!(format!("{error:#}").starts_with("policy.toml: housekeeping_percent"));
    }

    #[test]
    fn rules_that_contradict_themselves_are_named() {
        let error = |text: &str| {
            let text = format!("[[rule]]\nname = \"x\"\n{text}");
            codecs::config::parse::<Policy>("policy.toml", &text)
                .map_err(anyhow::Error::from)
                .and_then(|policy| policy.check())
                .unwrap_err()
                .to_string()
        };
        assert!(error("class = \"telemetry\"\naction = \"summary\"").contains("of a tile"));
        assert!(error("class = \"tile\"\naction = \"drop\"\nvalue = 230").contains("1 to 229"));
        assert!(error("class = \"tile\"\naction = \"drop\"\nscore_min = nan").contains("0 to 1"));
        assert!(error("class = \"tile\"\naction = \"drop\"\noriginal = \"keep\"").contains("goes"));
        assert!(
            error("class = \"tile\"\naction = \"drop\"\nscore_mn = 1").contains("did you mean")
        );
        for (range, what) in [
            ("score_min = 0.9\nscore_max = 0.1", "least score"),
            ("age_min_s = 100\nage_max_s = 10", "least age"),
            ("contact_min_s = 5\ncontact_max_s = 5", "least contact"),
            ("apids = [5000]", "0 to 2046"),
        ] {
            assert!(error(&format!("class = \"tile\"\naction = \"drop\"\n{range}")).contains(what));
        }
        for (action, key, why) in [
            ("keep", "max_error = 2", "as it was taken"),
            ("keep", "value = 100", "value says nothing"),
            ("drop", "value_at_1 = 100", "nothing of it goes down"),
            ("drop", "deadline_s = 60", "deadline_s says nothing"),
            ("summary", "max_error = 1", "\"compressed\" or \"parts\""),
            ("compressed", "max_error = 60000", "0 to 1023"),
            ("compressed", "reference_bytes = 0", "at least 1"),
        ] {
            let said = error(&format!("class = \"tile\"\naction = {action:?}\n{key}"));
            assert!(said.contains(why), "{said}");
        }
        let behind = "class = \"tile\"\naction = \"drop\"\n[[rule]]\nname = \"y\"\nclass = \"tile\"\n\
            action = \"first\"\nscore_min = 0.5";
        assert!(error(behind).contains("never reached"));
        let rule = "class = \"tile\"\naction = \"drop\"\n";
        assert!(error(&format!("{rule}[[rule]]\nname = \"x\"\n{rule}")).contains("two rules"));
    }
}

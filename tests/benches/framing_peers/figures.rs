//! Interleaved rounds, their medians, and how they are printed.

use codecs::fec::kernels;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Rounds of a contender, where they are short.
const ROUNDS: usize = 11;
/// Rounds of a contender, however long they are: the least that has a median.
const ROUNDS_MIN: usize = 3;
/// What a row may take beyond the rounds it must have.
const ROW_FOR: Duration = Duration::from_secs(2);
/// The least that is timed as one: a clock's own cost must not show.
const TIMED_MIN: Duration = Duration::from_millis(4);

/// Reproducible noise.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 11) as usize % bound
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// One library's way to do a row's work once.
pub struct Contender<'a> {
    name: &'static str,
    once: Box<dyn FnMut() + 'a>,
}

/// Names a contender.
pub fn by<'a>(name: &'static str, once: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, once: Box::new(once) }
}

struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    peers: Vec<(&'static str, f64)>,
}

impl Row {
    fn best(&self) -> Option<(&'static str, f64)> {
        self.peers.iter().copied().reduce(|a, b| if a.1 > b.1 { a } else { b })
    }
}

/// The rows so far.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Times `work` units by ours and by the peers, in turn, and keeps the medians.
    pub fn row<'a>(
        &mut self,
        what: impl Into<String>,
        (work, unit): (f64, &'static str),
        ours: impl FnMut() + 'a,
        peers: Vec<Contender<'a>>,
    ) {
        let mut contenders = vec![by("ours", ours)];
        contenders.extend(peers);
        let repeats: Vec<u32> = contenders
            .iter_mut()
            .map(|contender| {
                (contender.once)();
                let start = Instant::now();
                (contender.once)();
                let once = start.elapsed().max(Duration::from_nanos(20));
                TIMED_MIN.div_duration_f64(once).ceil().max(1.0) as u32
            })
            .collect();
        let mut taken = vec![Vec::new(); contenders.len()];
        let start = Instant::now();
        for round in 0..ROUNDS {
            if round >= ROUNDS_MIN && start.elapsed() > ROW_FOR {
                break;
            }
            for ((contender, repeats), taken) in contenders.iter_mut().zip(&repeats).zip(&mut taken)
            {
                let start = Instant::now();
                (0..*repeats).for_each(|_| (contender.once)());
                taken.push(start.elapsed().as_secs_f64() / f64::from(*repeats));
            }
        }
        let mut rates = contenders.iter().zip(&mut taken).map(|(contender, taken)| {
            taken.sort_by(f64::total_cmp);
            (contender.name, work / taken[taken.len() / 2])
        });
        let (_, ours) = rates.next().expect("ours comes first");
        let peers = rates.collect();
        self.0.push(Row { what: what.into(), unit, ours, peers });
    }

    /// The table, or one JSON document.
    pub fn print(&self, as_json: bool) {
        let features = features();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        if as_json {
            let rows: Vec<Value> = self.0.iter().map(row_json).collect();
            println!("{}", json!({ "cpu": features, "cores": cores, "rows": rows }));
            return;
        }
        println!("CPU features: {}", features.join(" "));
        println!("cores allowed: {cores}");
        println!("\nwhat | ours | peer | ratio\n--- | --- | --- | ---");
        for row in &self.0 {
            let Row { what, unit, ours, .. } = row;
            match row.best() {
                Some((_, best)) => {
                    let peers: Vec<String> = row
                        .peers
                        .iter()
                        .map(|(name, rate)| format!("{name} {}", digits(*rate)))
                        .collect();
                    let ratio = digits(ours / best);
                    println!("{what} | {} {unit} | {} | {ratio}", digits(*ours), peers.join(", "));
                }
                None => println!("{what} | {} {unit} | - | -", digits(*ours)),
            }
        }
    }
}

fn row_json(row: &Row) -> Value {
    let peers: Map<_, _> =
        row.peers.iter().map(|(name, rate)| ((*name).to_owned(), json!(rate))).collect();
    json!({
        "what": row.what, "unit": row.unit, "ours": row.ours, "peers": peers,
        "ratio": row.best().map(|(_, best)| row.ours / best),
    })
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// What of this processor the kernels ask for, and the kernels that were chosen.
fn features() -> Vec<String> {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! name {
            ($($feature:tt)+) => {
                $(if std::arch::is_x86_feature_detected!($feature) {
                    features.push($feature.to_owned());
                })+
            };
        }
        name!("avx2" "avx512f" "avx512bw" "avx512vbmi" "gfni" "pclmulqdq" "vpclmulqdq");
    }
    features.push(format!("(Viterbi: {})", kernels::viterbi::Kernel::best().name()));
    features.push(format!("(LDPC: {})", kernels::ldpc::Kernel::best().name()));
    features
}

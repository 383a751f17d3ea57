//! OPS-SAT-AD: recorded segments of telemetry, and how much of them has to go down for a share of
//! the anomalous ones.

use crate::flight::Models;
use anyhow::Context;
use codecs::tensor::Tensor;

const FILE: &str = "anomaly/ops-sat-ad_dataset.csv";
/// Segments that the model takes at once.
const BATCH: usize = 256;

/// One segment of the published test part.
struct Segment {
    samples: u64,
    anomalous: bool,
    score: f32,
}

/// What came out.
pub struct Segments {
    pub segments: usize,
    pub anomalous: usize,
    pub samples: u64,
    /// Share of the anomalous segments that is sent, and of all samples, segment after segment
    /// from the highest score down.
    pub curve: Vec<(f64, f64)>,
    /// The same where the model's threshold cuts.
    pub at_threshold: (f64, f64),
    /// Nominal segments above the threshold.
    pub false_alarms: usize,
}

/// Scores the published test part; none where the recording is absent.
pub fn measure(models: &Models) -> anyhow::Result<Option<Segments>> {
    let Some(path) = tests::recorded(FILE) else { return Ok(None) };
    let text = std::fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("a header")?.split(',').collect();
    let column = |name: &str| header.iter().position(|of| *of == name).context(name.to_owned());
    let mut session = models.load("telemetry-anomaly")?;
    let input = session.manifest().inputs.first().context("an input")?.clone();
    let wanted: Vec<usize> =
        input.elements.iter().map(|name| column(name)).collect::<Result<_, _>>()?;
    let (train, anomaly, length) = (column("train")?, column("anomaly")?, column("len")?);
    let (mut segments, mut features) = (Vec::new(), Vec::new());
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[train] != "0" {
            continue;
        }
        for column in &wanted {
            features.push(fields[*column].parse::<f32>()?);
        }
        let (samples, anomalous) = (fields[length].parse()?, fields[anomaly] == "1");
        segments.push(Segment { samples, anomalous, score: 0.0 });
    }
    let batches = features.chunks(BATCH * wanted.len()).zip(segments.chunks_mut(BATCH));
    for (features, segments) in batches {
        let shape = vec![segments.len() as u64, wanted.len() as u64];
        let answer = session.run(&[Tensor::from_f32(&*input.name, shape, features)?])?;
        let scores = answer.first().and_then(Tensor::to_f32).context("scores")?;
        segments.iter_mut().zip(scores).for_each(|(segment, score)| segment.score = score);
    }
    let threshold = session.manifest().parameter("threshold").context("a threshold")? as f32;
    Ok(Some(summed(segments, threshold)))
}

fn summed(mut segments: Vec<Segment>, threshold: f32) -> Segments {
    segments.sort_by(|a, b| b.score.total_cmp(&a.score));
    let anomalous = segments.iter().filter(|segment| segment.anomalous).count();
    let samples = segments.iter().map(|segment| segment.samples).sum();
    let (mut hit, mut sent) = (0, 0);
    let mut curve = Vec::new();
    let mut at_threshold = (0.0, 0.0);
    for segment in &segments {
        hit += u64::from(segment.anomalous);
        sent += segment.samples;
        let point = (hit as f64 / anomalous as f64, sent as f64 / samples as f64);
        curve.push(point);
        if segment.score >= threshold {
            at_threshold = point;
        }
    }
    let above = segments.iter().filter(|segment| segment.score >= threshold);
    let false_alarms = above.filter(|segment| !segment.anomalous).count();
    Segments { segments: segments.len(), anomalous, samples, curve, at_threshold, false_alarms }
}

impl Segments {
    /// Share of the samples that has to go down for a recall.
    pub fn share_for(&self, recall: f64) -> Option<f64> {
        // The last digit of a share is no reason to send another segment.
        self.curve.iter().find(|(hit, _)| *hit + 1e-9 >= recall).map(|(_, sent)| *sent)
    }
}

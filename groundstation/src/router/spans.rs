//! Spans of a job: its time in the queue, each question, and that its outcome is published.

use super::Router;
use super::answer::Spent;
use super::ask::Ask;
use super::job::JobId;
use super::log::{Line, State};
use crate::pool::{PoolError, Trace, Usage};
use crate::telemetry::{Kind, Span, units};
use codecs::time::Tai;

/// Spans between two calls of [`Router::take_spans`], at most: who asks for them takes them at
/// each turn.
const SPANS_MAX: usize = 4_096;

impl Router {
    /// Has it tell spans; else it makes none.
    pub fn telling_spans(mut self) -> Self {
        self.spans = Some(Vec::new());
        self
    }

    /// Spans that ended since the last call.
    pub fn take_spans(&mut self) -> Vec<Span> {
        self.spans.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn push_span(&mut self, span: Span) {
        if let Some(spans) = self.spans.as_mut().filter(|spans| spans.len() < SPANS_MAX) {
            spans.push(span);
        }
    }

    fn pool_name(&self, at: usize) -> &str {
        self.pools.get(at).map_or("", |pool| pool.spec.name.as_str())
    }

    /// A job went to a pool: its wait is over.
    pub(super) fn span_queue(&mut self, id: JobId, at: usize, now: Tai) {
        if self.spans.is_none() {
            return;
        }
        let Some(job) = self.jobs.get(&id) else { return };
        let own = job.trace.part(&format!("{}/queue@{}", job.key, job.waits_from.0));
        let parent = job.trace.part(&job.key).span;
        let span = Span::new(own, parent, "queue", job.waits_from, now)
            .text("groundtrack.pool", self.pool_name(at))
            .whole("groundtrack.priority", u64::from(job.priority));
        self.push_span(span);
    }

    /// A question was answered, or was in vain.
    pub(super) fn span_ask(
        &mut self,
        asked: &Ask,
        result: Result<&Usage, &PoolError>,
        spent: &Spent,
        now: Tai,
    ) {
        if self.spans.is_none() {
            return;
        }
        let jobs = asked.jobs.iter().filter_map(|id| self.jobs.get(id));
        let of: Vec<(Trace, u64)> =
            jobs.map(|job| (job.trace, job.trace.part(&job.key).span)).collect();
        let task = self.tasks.get(asked.task).map_or("", |(name, _)| name.as_str());
        let mut made = Vec::new();
        for (place, (trace, parent)) in of.iter().enumerate() {
            // The pool was told the first job's span; of others each has one of its own.
            let own = match place {
                0 => asked.trace,
                _ => trace.part(&format!("{:016x}/{place}", asked.trace.span)),
            };
            let mut span = Span::new(own, *parent, "ask", asked.since, now)
                .kind(Kind::Client)
                .text("groundtrack.task", task)
                .text("groundtrack.pool", self.pool_name(asked.pool))
                .whole("groundtrack.jobs", asked.jobs.len() as u64)
                .whole("groundtrack.request_bytes", asked.bytes)
                .truth("groundtrack.compared", asked.mirror);
            match result {
                Ok(usage) => {
                    let tokens = [
                        ("gen_ai.usage.input_tokens", usage.tokens_in),
                        ("gen_ai.usage.output_tokens", usage.tokens_out),
                    ];
                    for (name, count) in tokens {
                        span = count.map_or(span.clone(), |count| span.whole(name, count));
                    }
                    made.extend(parts(own, asked.since, spent));
                    span = span.moment("answer validated", now, "");
                }
                Err(error) => {
                    span = span.text("error.type", error.cause.name());
                    span = span.moment("answer refused", now, &error.said).failed(&error.said);
                }
            }
            made.push(span);
        }
        made.into_iter().for_each(|span| self.push_span(span));
    }

    /// A question that is given up since another answered.
    pub(super) fn span_given_up(&mut self, asked: &Ask, now: Tai) {
        let vain = PoolError::deadline();
        let said = PoolError { said: "given up: the job is decided".to_owned(), ..vain };
        self.span_ask(asked, Err(&said), &Spent::default(), now);
    }

    /// An outcome is on the disk and published.
    pub(super) fn span_job(&mut self, id: JobId, line: &Line, now: Tai) {
        if self.spans.is_none() {
            return;
        }
        let Some(job) = self.jobs.get(&id) else { return };
        let (trace, own) = (job.trace, job.trace.part(&job.key));
        let published = trace.part(&format!("{}/publish", job.key));
        let published = Span::new(published, own.span, "publish", Tai(line.at), now);
        let mut span = Span::new(own, units::root(trace).span, "job", job.accepted, now)
            .text("groundtrack.job", &line.key)
            .text("groundtrack.task", &line.task)
            .text("groundtrack.pool", &line.pool)
            .text("groundtrack.model", &line.model)
            .text("groundtrack.result", &line.result)
            .whole("groundtrack.attempts", u64::from(line.attempts))
            .real("groundtrack.cost", line.cost.units());
        if let Some(energy) = line.energy_j {
            span = span.real("groundtrack.energy_joules", energy);
        }
        if line.state == State::Failed {
            span = span.failed(&line.result);
        }
        self.push_span(published);
        self.push_span(span);
    }
}

/// Where the time of an answer went. The lengths are what the pool states or what its way takes;
/// where in the question each lies is not known: there and back are told as one, before the rest.
fn parts(of: Trace, since: Tai, spent: &Spent) -> Vec<Span> {
    let mut begin = since;
    let rows = [("transfer", spent.transfer), ("pool queue", spent.queue), ("run", spent.run)];
    let parts = rows.into_iter().filter(|(_, ns)| *ns > 0).map(|(name, ns)| {
        let end = begin.plus(ns);
        let own = of.part(&format!("{:016x}/{name}", of.span));
        let span = Span::new(own, of.span, name, begin, end);
        begin = end;
        span
    });
    parts.collect()
}

//! Families of pools, and of what they did for each task.

use super::{Text, escape};
use crate::router::{
    BREAKERS,
    discovery::DiscoveryView,
    meter::{BUCKETS_S, Histogram, Metered},
    view::RouterView,
};

/// All that the router tells; nothing where it does not answer.
pub(super) fn pools(text: &mut Text, view: Option<&RouterView>) {
    text.family("router_answers", "gauge", "1 where the router told what follows.");
    text.sample("router_answers", "", u8::from(view.is_some()));
    let Some(view) = view else { return };
    now(text, view);
    breakers(text, view);
    counters(text, view);
    histograms(text, view);
    discoveries(text, view);
    spans(text, view);
}

/// What is so at this moment.
fn now(text: &mut Text, view: &RouterView) {
    text.family("jobs_queued", "gauge", "Jobs that wait for a pool, by task.");
    for (task, count) in &view.queued_tasks {
        text.sample("jobs_queued", &format!("task=\"{}\"", escape(task)), count);
    }
    text.family("jobs_running", "gauge", "Jobs that a pool works on.");
    text.sample("jobs_running", "", view.running);
    type Read = fn(&crate::router::view::PoolView) -> f64;
    let gauges: [(&str, &str, Read); 4] = [
        ("pool_in_flight", "Questions on their way.", |pool| pool.in_flight as f64),
        ("pool_limit", "Questions that it is given at a time.", |pool| pool.limit as f64),
        ("pool_health_ratio", "Share of answers that were good, lately.", |pool| pool.health),
        ("pool_spent_today", "Spent on it this day (UTC), in the station's currency.", |pool| {
            pool.today.spent.units()
        }),
    ];
    for (name, help, read) in gauges {
        text.family(name, "gauge", help);
        for pool in &view.pools {
            text.sample(name, &format!("pool=\"{}\"", escape(&pool.name)), read(pool));
        }
    }
}

/// 1 for each cause that shuts a pool now; of a task's own causes, where any task's is shut.
fn breakers(text: &mut Text, view: &RouterView) {
    text.family("pool_breaker_shut", "gauge", "1 where a cause keeps a pool from being asked.");
    for pool in &view.pools {
        for cause in BREAKERS {
            let shut = pool.shut.iter().any(|shut| shut.cause == cause);
            let labels = format!("pool=\"{}\",cause=\"{cause}\"", escape(&pool.name));
            text.sample("pool_breaker_shut", &labels, u8::from(shut));
        }
    }
}

fn whose(pool: &str, task: &str) -> String {
    format!("pool=\"{}\",task=\"{}\"", escape(pool), escape(task))
}

fn counters(text: &mut Text, view: &RouterView) {
    text.family("pool_jobs", "counter", "Jobs that ended, by the pool that was asked last.");
    for ((pool, task), row) in &view.meter {
        for (state, count) in [("done", row.done), ("failed", row.failed)] {
            let labels = format!("{},state=\"{state}\"", whose(pool, task));
            text.sample("pool_jobs_total", &labels, count);
        }
    }
    text.family("pool_errors", "counter", "Questions in vain, by cause.");
    for ((pool, task), row) in &view.meter {
        for (cause, count) in &row.errors {
            let labels = format!("{},cause=\"{cause}\"", whose(pool, task));
            text.sample("pool_errors_total", &labels, count);
        }
    }
    text.family("pool_tokens", "counter", "Tokens, where the pool states them.");
    for ((pool, task), row) in &view.meter {
        for (way, count) in [("in", row.tokens_in), ("out", row.tokens_out)] {
            let labels = format!("{},direction=\"{way}\"", whose(pool, task));
            text.sample("pool_tokens_total", &labels, count);
        }
    }
    type Read = fn(&Metered) -> f64;
    let families: [(&str, &str, Read); 5] = [
        ("pool_questions", "Questions, each batch once.", |row| row.asked as f64),
        ("pool_retries", "Jobs tried again after it failed them.", |row| row.retries as f64),
        ("pool_hedges", "Jobs it was asked about since another took long.", |row| {
            row.hedges as f64
        }),
        ("pool_cost", "What questions cost, in the station's currency.", |row| row.cost.units()),
        ("pool_energy_joules", "Energy, where it is known.", |row| row.energy_j),
    ];
    for (name, help, read) in families {
        text.family(name, "counter", help);
        for ((pool, task), row) in &view.meter {
            text.sample(&format!("{name}_total"), &whose(pool, task), read(row));
        }
    }
}

fn histograms(text: &mut Text, view: &RouterView) {
    type Read = fn(&Metered) -> &Histogram;
    let families: [(&str, &str, Read); 3] = [
        ("pool_queue_seconds", "From acceptance to the question that ended a job.", |row| {
            &row.queue
        }),
        ("pool_transfer_seconds", "Of a question on the way there and back.", |row| &row.transfer),
        ("pool_run_seconds", "Of a question at work.", |row| &row.run),
    ];
    for (name, help, read) in families {
        text.family(name, "histogram", help);
        for ((pool, task), row) in &view.meter {
            let (whose, histogram) = (whose(pool, task), read(row));
            let mut below = 0;
            for (end, count) in BUCKETS_S.iter().zip(&histogram.buckets) {
                below += count;
                let labels = format!("{whose},le=\"{end:?}\"");
                text.sample(&format!("{name}_bucket"), &labels, below);
            }
            let labels = format!("{whose},le=\"+Inf\"");
            text.sample(&format!("{name}_bucket"), &labels, histogram.count);
            text.sample(&format!("{name}_count"), &whose, histogram.count);
            text.sample(&format!("{name}_sum"), &whose, histogram.sum_s);
        }
    }
}

/// Of the tables that stand for found pools.
fn discoveries(text: &mut Text, view: &RouterView) {
    let name = |of: &DiscoveryView| format!("table=\"{}\"", escape(&of.name));
    text.family("pools_found", "gauge", "Pools that a table stands for now.");
    for of in &view.discoveries {
        text.sample("pools_found", &name(of), of.known);
    }
    text.family("pools_left_out", "gauge", "Addresses above the bound, in the last look.");
    for of in &view.discoveries {
        text.sample("pools_left_out", &name(of), of.over);
    }
    text.family("pool_looks", "counter", "Looks for pools, by whether they were answered.");
    for of in &view.discoveries {
        for (outcome, count) in [("answered", of.lookups), ("failed", of.failures)] {
            let labels = format!("{},outcome=\"{outcome}\"", name(of));
            text.sample("pool_looks_total", &labels, count);
        }
    }
    text.family("pool_moves", "counter", "Pools that came up and went.");
    for of in &view.discoveries {
        for (what, count) in [("joined", of.joined), ("left", of.left)] {
            text.sample("pool_moves_total", &format!("{},what=\"{what}\"", name(of)), count);
        }
    }
}

fn spans(text: &mut Text, view: &RouterView) {
    let Some(spans) = &view.spans else { return };
    text.counter("spans_made", "Spans, for the collector of traces.", spans.made);
    text.family("spans", "counter", "Of them, by what became of them.");
    let ends =
        [("exported", spans.exported), ("dropped", spans.dropped), ("refused", spans.refused)];
    for (outcome, count) in ends {
        text.sample("spans_total", &format!("outcome=\"{outcome}\""), count);
    }
    text.family("spans_waiting", "gauge", "Of them, those that wait.");
    text.sample("spans_waiting", "", spans.waiting);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Cost;
    use crate::router::{Router, spec::PoolSpec, spec::Settings};
    use crate::telemetry::queue::Counts;
    use codecs::time::Tai;

    #[test]
    fn each_pool_and_task_tells_what_it_did_and_took() {
        let specs = vec![PoolSpec::new("far \"gpu\"", &["cloud-mask/1"])];
        let router = Router::new(specs, Settings::default(), [], Tai(0));
        let mut view = router.view(Tai(0));
        let mut row = Metered { done: 3, failed: 1, asked: 5, retries: 1, ..Metered::default() };
        row.cost = Cost(1_500_000);
        row.tokens_in = 42;
        row.energy_j = 2.5;
        row.errors.insert("overloaded", 2);
        [0.002, 0.3, 900.0].into_iter().for_each(|seconds| row.run.add(seconds));
        view.meter.insert(("far \"gpu\"".to_owned(), "cloud-mask/1".to_owned()), row);
        view.queued_tasks.insert("cloud-mask/1".to_owned(), 7);
        view.discoveries.push(DiscoveryView {
            name: "cluster".to_owned(),
            known: 3,
            lookups: 8,
            failures: 2,
            joined: 5,
            left: 2,
            over: 1,
            ..DiscoveryView::default()
        });
        view.spans = Some(Counts { made: 9, exported: 6, dropped: 2, waiting: 1, refused: 0 });
        let mut text = Text::default();
        pools(&mut text, Some(&view));
        let whose = "pool=\"far \\\"gpu\\\"\",task=\"cloud-mask/1\"";
        for line in [
            "groundtrack_router_answers 1".to_owned(),
            "groundtrack_jobs_queued{task=\"cloud-mask/1\"} 7".to_owned(),
            format!("groundtrack_pool_jobs_total{{{whose},state=\"done\"}} 3"),
            format!("groundtrack_pool_jobs_total{{{whose},state=\"failed\"}} 1"),
            format!("groundtrack_pool_errors_total{{{whose},cause=\"overloaded\"}} 2"),
            format!("groundtrack_pool_retries_total{{{whose}}} 1"),
            format!("groundtrack_pool_cost_total{{{whose}}} 1.5"),
            format!("groundtrack_pool_tokens_total{{{whose},direction=\"in\"}} 42"),
            format!("groundtrack_pool_energy_joules_total{{{whose}}} 2.5"),
            format!("groundtrack_pool_run_seconds_bucket{{{whose},le=\"0.0025\"}} 1"),
            format!("groundtrack_pool_run_seconds_bucket{{{whose},le=\"0.5\"}} 2"),
            format!("groundtrack_pool_run_seconds_bucket{{{whose},le=\"600.0\"}} 2"),
            format!("groundtrack_pool_run_seconds_bucket{{{whose},le=\"+Inf\"}} 3"),
            format!("groundtrack_pool_run_seconds_count{{{whose}}} 3"),
            "groundtrack_pool_breaker_shut{pool=\"far \\\"gpu\\\"\",cause=\"auth\"} 0".to_owned(),
            "groundtrack_pools_found{table=\"cluster\"} 3".to_owned(),
            "groundtrack_pools_left_out{table=\"cluster\"} 1".to_owned(),
            "groundtrack_pool_looks_total{table=\"cluster\",outcome=\"failed\"} 2".to_owned(),
            "groundtrack_pool_moves_total{table=\"cluster\",what=\"joined\"} 5".to_owned(),
            "groundtrack_spans_total{outcome=\"dropped\"} 2".to_owned(),
        ] {
            assert!(text.0.lines().any(|found| found == line), "{line} is not in\n{}", text.0);
        }
        let document = include_str!("../../../../docs/operations.md");
        let families = text.0.lines().filter_map(|line| line.strip_prefix("# TYPE groundtrack_"));
        for family in families.filter_map(|family| family.split(' ').next()) {
            let stands = [format!("`{family}`"), format!("`{family}_total`")];
            let stands = stands.iter().any(|name| document.contains(name.as_str()));
            assert!(stands, "{family} does not stand in docs/operations.md");
        }
    }

    #[test]
    fn a_router_that_does_not_answer_is_told() {
        let mut text = Text::default();
        pools(&mut text, None);
        assert!(text.0.ends_with("groundtrack_router_answers 0\n"), "{}", text.0);
    }
}

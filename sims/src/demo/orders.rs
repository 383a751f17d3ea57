//! What the ground orders during the pass, from what its own programs list: which models are in
//! charge, and some of what triage kept on board.

use super::summary::Orders;
use codecs::ids::{Channel, RangeSet, SeqRange};
use serde_json::Value;
use std::collections::BTreeMap;

/// Channel of the flight software's products.
pub const PRODUCTS: Channel = onboard::pipeline::PRODUCTS;
/// Runs of kept units asked for: an operator picks a few, not all.
const ASKED_MAX: usize = 4;

/// An operator at work.
#[derive(Debug, Default)]
pub struct Operator {
    /// Slots are there to be listed, and nobody asked yet.
    models: bool,
    /// What was asked for, by the number of the command.
    asked: BTreeMap<u64, SeqRange>,
}

/// One command for the spacecraft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// As it is typed.
    pub text: String,
    /// Kept units that it asks for.
    asks: Option<SeqRange>,
}

impl Operator {
    /// One who has ordered nothing; `models` says whether the flight has slots.
    pub fn new(models: bool) -> Self {
        Self { models, asked: BTreeMap::new() }
    }

    /// What is to be ordered next, by what `groundstation gaps --json` says.
    pub fn next(&mut self, gaps: &Value) -> Vec<Order> {
        let mut orders = Vec::new();
        if self.models {
            orders.push(Order { text: "model list".to_owned(), asks: None });
        }
        if self.asked.is_empty() {
            orders.extend(kept(gaps).into_iter().take(ASKED_MAX).map(|range| Order {
                text: format!("send products {}-{}", range.first, range.last),
                asks: Some(range),
            }));
        }
        orders
    }

    /// The station has queued an order under this number.
    pub fn queued(&mut self, order: &Order, sequence: u64) {
        match order.asks {
            Some(range) => {
                self.asked.insert(sequence, range);
            }
            None => self.models = false,
        }
    }

    /// What came of it by what `groundstation uplink list --json` says, and the units that the
    /// spacecraft says it will send.
    pub fn outcome(&self, listed: &Value) -> (Orders, RangeSet) {
        let (mut orders, mut promised) = (Orders::default(), RangeSet::new());
        for row in listed["objects"].as_array().into_iter().flatten() {
            let sequence = row["sequence"].as_u64();
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            match (text("state"), text("outcome")) {
                ("ended", "done") => {
                    orders.done += 1;
                    let asked = sequence.and_then(|sequence| self.asked.get(&sequence));
                    asked.into_iter().for_each(|range| promised.insert(*range));
                }
                ("ended", outcome) => {
                    let (kind, detail) = (text("kind"), text("detail"));
                    let sequence = sequence.unwrap_or_default();
                    orders.failed.push(format!("{kind} {sequence} is {outcome}: {detail}"));
                }
                _ => orders.unanswered += 1,
            }
        }
        orders.units_asked = promised.count();
        (orders, promised)
    }
}

/// Products that triage kept on board, as the station was told.
fn kept(gaps: &Value) -> Vec<SeqRange> {
    let counters = gaps["counters"].as_array().into_iter().flatten();
    let products = counters.filter(|of| of["channel"].as_u64() == Some(PRODUCTS.0));
    let left_out = products.flat_map(|of| of["left_out"].as_array().into_iter().flatten());
    let kept = left_out.filter(|of| of["reason"] == "kept");
    kept.filter_map(|of| SeqRange::new(of["first"].as_u64()?, of["last"].as_u64()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gaps() -> Value {
        let left_out = json!([
            { "first": 3, "last": 3, "reason": "kept" },
            { "first": 5, "last": 8, "reason": "evicted" },
            { "first": 9, "last": 11, "reason": "kept" },
        ]);
        json!({ "counters": [
            { "channel": 5, "left_out": [{ "first": 0, "last": 0, "reason": "kept" }] },
            { "channel": PRODUCTS.0, "left_out": left_out },
        ]})
    }

    #[test]
    fn only_what_was_kept_is_asked_for_and_only_once() {
        let mut operator = Operator::new(true);
        let texts = |orders: &[Order]| -> Vec<String> {
            orders.iter().map(|order| order.text.clone()).collect()
        };
        let list = operator.next(&json!({}));
        assert_eq!(texts(&list), ["model list"]);
        operator.queued(&list[0], 0);
        let orders = operator.next(&gaps());
        assert_eq!(texts(&orders), ["send products 3-3", "send products 9-11"]);
        // What the station did not take is ordered again.
        assert_eq!(operator.next(&gaps()), orders);
        operator.queued(&orders[0], 1);
        assert!(operator.next(&gaps()).is_empty());
    }

    #[test]
    fn units_count_as_promised_once_the_spacecraft_says_so() {
        let mut operator = Operator::new(false);
        let orders = operator.next(&gaps());
        (1..).zip(&orders).for_each(|(sequence, order)| operator.queued(order, sequence));
        let row = |sequence: u64, state: &str, outcome: &str| {
            json!({ "kind": "command", "sequence": sequence, "state": state, "outcome": outcome,
                "detail": "why" })
        };
        let rows = [row(0, "ended", "failed"), row(1, "ended", "done"), row(2, "sent", "")];
        let (told, promised) = operator.outcome(&json!({ "objects": rows }));
        assert_eq!((told.done, told.unanswered, told.units_asked), (1, 1, 1));
        assert_eq!(told.failed, ["command 0 is failed: why"]);
        assert_eq!(promised.ranges(), [SeqRange { first: 3, last: 3 }]);
    }
}

//! `groundstation gaps`: what is not in the archive, and why.

use super::{
    mission,
    reading::{self, PassedOver, pick},
};
use crate::{
    archive::{
        read::{Damaged, Found, claims, read},
        record::Position,
        scan::Hole,
        twice::Twice,
    },
    commands::say,
    config::Config,
    gaps::{ChannelGaps, Contact, ContactId, Contacts, CounterGaps, Gaps, LeftOut, Report},
    merge::View,
};
use anyhow::Context as _;
use codecs::{
    ids::{SeqRange, SpacecraftId},
    link::void::VoidReason,
    mission::Definition,
    time::Tai,
};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

/// List what is not in the archive: not delivered, not heard, left out on purpose
///
/// Reads beside a running daemon. Custody gaps go by each store's sequence, reception gaps by the
/// frame count of what any antenna heard during a contact.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 listed, whatever is missing; 1 the archive can't be read, \
    or not all of it.")]
pub struct GapsArgs {
    /// Station file
    #[arg(long, value_name = "FILE", default_value = "station.toml")]
    pub config: PathBuf,
    /// Only what is of this contact, as listed; without what has no time
    #[arg(long, value_name = "SPACECRAFT:TIME")]
    pub contact: Option<ContactId>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Lists.
pub fn run(args: &GapsArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    let dir = config.path(&config.archive.dir);
    let what = || format!("archive {}", dir.display());
    let mut folder = reading::open(&config)?;
    let definition = mission::load(&config.path(&config.mission))?;
    let named: Vec<SpacecraftId> = args.contact.iter().map(|id| id.spacecraft).collect();
    reading::known(&config, &definition, &mut folder, &named)?;
    let mut gaps = Gaps::new(&definition);
    let start = Position { segment: 0, offset: 0 };
    let end = Position { segment: u64::MAX, offset: u64::MAX };
    gaps.claims(claims(&mut folder).with_context(what)?);
    let mut passed_over = PassedOver::missing(&mut folder, 0).with_context(what)?;
    let twice = Twice::find(&mut folder).with_context(what)?;
    read(&mut folder, &twice, start, end, |found| {
        match found {
            Found::Unit(unit) => gaps.take(&unit),
            Found::Damage(damaged) => {
                if let Damaged::Record { hole: Hole { key: Some(key), .. }, .. } = &damaged {
                    gaps.damaged(key);
                }
                passed_over.note(&damaged);
            }
        }
        Ok(())
    })
    .with_context(what)?;
    let mut report = gaps.report(gaps.heard());
    let mut contacts: Vec<(SpacecraftId, Vec<Contact>)> =
        definition.spacecraft.iter().map(|craft| (craft.id, gaps.heard().of(craft.id))).collect();
    if let Some(id) = &args.contact {
        let contact = pick(&gaps.heard().of(id.spacecraft), id)?;
        report.keep(id.spacecraft, &contact);
        contacts.retain(|(craft, _)| *craft == id.spacecraft);
    }
    match args.json {
        true => {
            let mut document = document(&report, &contacts, &definition);
            document["damaged"] = serde_json::to_value(&passed_over)?;
            say(&document.to_string());
        }
        false => {
            say(&text(&report, &contacts, &definition));
            passed_over.lines().iter().for_each(|line| say(line));
        }
    }
    Ok(if passed_over.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The number of the contact in which something was received.
fn contact_of(contacts: &[(SpacecraftId, Vec<Contact>)], craft: SpacecraftId, at: Tai) -> usize {
    let own = contacts.iter().find(|(id, _)| *id == craft).map(|(_, contacts)| contacts);
    own.map_or(0, |contacts| contacts.partition_point(|contact| contact.to < at))
}

fn contact_name(contacts: &[(SpacecraftId, Vec<Contact>)], craft: SpacecraftId, at: Tai) -> String {
    let own = contacts.iter().find(|(id, _)| *id == craft);
    let contact = own.and_then(|(_, own)| own.iter().find(|contact| contact.holds(at)));
    contact.map_or_else(|| "?".into(), |contact| contact.id(craft).to_string())
}

fn name(definition: &Definition, craft: SpacecraftId, channel: codecs::ids::Channel) -> String {
    let craft = definition.spacecraft.iter().find(|known| known.id == craft);
    let named = craft.and_then(|craft| {
        let channels = definition.channels_of(craft);
        channels.into_iter().find(|(known, _)| *known == channel).map(|(_, name)| name)
    });
    named.map_or_else(|| channel.to_string(), |name| format!("{name} ({channel})"))
}

fn place(view: &View) -> (SpacecraftId, codecs::ids::Channel) {
    let channel = match view {
        View::Store(prefix) => prefix.channel,
        View::Heard(_, channel) => *channel,
    };
    (view.spacecraft(), channel)
}

fn reason(reason: Option<VoidReason>) -> Option<&'static str> {
    Some(match reason? {
        VoidReason::Triage => "triage",
        VoidReason::Evicted => "evicted",
        VoidReason::Damaged => "damaged",
        VoidReason::Kept => "kept",
        VoidReason::Skipped => "skipped",
    })
}

/// Why something was left out, and how much, for a person.
fn why(left_out: &LeftOut) -> String {
    match (reason(left_out.reason), left_out.bytes) {
        (Some(reason), Some(bytes)) => format!("{reason}, {bytes} bytes"),
        _ => "why is not known: the record that says so can't be read any more".into(),
    }
}

fn document(
    report: &Report,
    contacts: &[(SpacecraftId, Vec<Contact>)],
    definition: &Definition,
) -> Value {
    let crafts = contacts.iter().map(|(craft, contacts)| {
        let contact = |(at, contact): (usize, &Contact)| {
            let (from, to) = (contact.from.to_rfc3339(), contact.to.to_rfc3339());
            json!({ "contact": at, "id": contact.id(*craft).to_string(), "from": from, "to": to })
        };
        let contacts: Vec<Value> = contacts.iter().enumerate().map(contact).collect();
        json!({ "spacecraft": craft.0, "contacts": contacts })
    });
    let ranges = |ranges: &[SeqRange]| -> Vec<Value> {
        let range = |range: &SeqRange| json!({ "first": range.first, "last": range.last });
        ranges.iter().map(range).collect()
    };
    let counter = |counter: &CounterGaps| {
        let prefix = &counter.prefix;
        let custody = counter.custody.iter().map(|gap| {
            json!({
                "first": gap.range.first, "last": gap.range.last,
                "contact": contact_of(contacts, prefix.spacecraft, gap.noticed),
                "noticed": gap.noticed.to_rfc3339(),
            })
        });
        let left_out = counter.left_out.iter().map(|left_out| {
            json!({
                "first": left_out.range.first, "last": left_out.range.last,
                "reason": reason(left_out.reason), "bytes": left_out.bytes,
            })
        });
        json!({
            "origin": prefix.origin.to_string(), "epoch": prefix.epoch.0,
            "spacecraft": prefix.spacecraft.0, "channel": prefix.channel.0,
            "name": name(definition, prefix.spacecraft, prefix.channel),
            "held": counter.held,
            "custody": custody.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "let_go": ranges(&counter.let_go), "damaged": ranges(&counter.damaged),
        })
    };
    let channel = |channel: &ChannelGaps| {
        let (craft, id) = place(&channel.view);
        let reception = channel.reception.iter().map(|gap| {
            json!({
                "vc": gap.vc, "lost": gap.lost,
                "contact": contact_of(contacts, craft, gap.from),
                "from": gap.from.to_rfc3339(), "to": gap.to.to_rfc3339(),
            })
        });
        let set_back = channel.set_back.iter().map(|back| {
            json!({
                "vc": back.vc, "counts": back.counts,
                "contact": contact_of(contacts, craft, back.from),
                "from": back.from.to_rfc3339(), "to": back.to.to_rfc3339(),
            })
        });
        json!({
            "spacecraft": craft.0, "channel": id.0, "name": name(definition, craft, id),
            "merged": matches!(channel.view, View::Heard(..)),
            "frames": channel.frames, "copies": channel.copies,
            "reception": reception.collect::<Vec<_>>(),
            "set_back": set_back.collect::<Vec<_>>(),
        })
    };
    json!({
        "spacecraft": crafts.collect::<Vec<_>>(),
        "counters": report.counters.iter().map(counter).collect::<Vec<_>>(),
        "channels": report.channels.iter().map(channel).collect::<Vec<_>>(),
    })
}

type Ranges = fn(&CounterGaps) -> &[SeqRange];

fn let_go(counter: &CounterGaps) -> &[SeqRange] {
    &counter.let_go
}

fn damaged(counter: &CounterGaps) -> &[SeqRange] {
    &counter.damaged
}

fn text(
    report: &Report,
    contacts: &[(SpacecraftId, Vec<Contact>)],
    definition: &Definition,
) -> String {
    let mut out = vec![String::from("contacts: received without a minute of silence")];
    for (craft, contacts) in contacts {
        out.extend(
            contacts
                .iter()
                .map(|contact| format!("  {} to {}", contact.id(*craft), contact.to.to_rfc3339())),
        );
    }
    out.push("custody gaps: numbered by a store, not delivered".into());
    let missing = report.counters.iter().filter(|counter| !counter.custody.is_empty());
    for counter in missing {
        let craft = counter.prefix.spacecraft;
        let name = name(definition, craft, counter.prefix.channel);
        for gap in &counter.custody {
            let (first, last) = (gap.range.first, gap.range.last);
            let contact = contact_name(contacts, craft, gap.noticed);
            let count = gap.range.count();
            out.push(format!(
                "  {} {name} of {}: {first} to {last} ({count}), contact {contact}",
                craft.0, counter.prefix.origin,
            ));
        }
    }
    out.push("reception gaps: sent during a contact, heard by no antenna".into());
    for channel in &report.channels {
        let (craft, id) = place(&channel.view);
        for gap in &channel.reception {
            let contact = contact_name(contacts, craft, gap.from);
            out.push(format!(
                "  {} {}: {} frames of VC {} between {} and {}, contact {contact}",
                craft.0,
                name(definition, craft, id),
                gap.lost,
                gap.vc,
                gap.from.to_rfc3339(),
                gap.to.to_rfc3339(),
            ));
        }
    }
    out.push("frame count set back: heard again, or reset".into());
    for channel in &report.channels {
        let (craft, id) = place(&channel.view);
        out.extend(channel.set_back.iter().map(|back| {
            format!(
                "  {} {}: VC {} from {} to {}, between {} and {}",
                craft.0,
                name(definition, craft, id),
                back.vc,
                back.counts[0],
                back.counts[1],
                back.from.to_rfc3339(),
                back.to.to_rfc3339(),
            )
        }));
    }
    out.push("left out on purpose".into());
    for counter in &report.counters {
        let craft = counter.prefix.spacecraft;
        for left_out in &counter.left_out {
            out.push(format!(
                "  {} {}: {} to {} ({}), {}",
                craft.0,
                name(definition, craft, counter.prefix.channel),
                left_out.range.first,
                left_out.range.last,
                left_out.range.count(),
                why(left_out),
            ));
        }
    }
    for (title, ranges) in [
        (
            "let go: archived, and deleted by retention or held by an object store only",
            let_go as Ranges,
        ),
        ("damaged or lost: archived, and can't be read unless it comes again", damaged),
    ] {
        out.push(title.into());
        for counter in &report.counters {
            let craft = counter.prefix.spacecraft;
            let name = name(definition, craft, counter.prefix.channel);
            out.extend(ranges(counter).iter().map(|range| {
                format!(
                    "  {} {name} of {}: {} to {} ({})",
                    craft.0,
                    counter.prefix.origin,
                    range.first,
                    range.last,
                    range.count(),
                )
            }));
        }
    }
    out.join("\n")
}

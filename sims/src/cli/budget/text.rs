//! Budgets for people, and as comma-separated values.

use crate::{
    contact::Pass,
    link::budget::{
        Budget,
        explain::{Line, Margin, Part},
        file::Described,
        pass::{Row, Totals},
    },
    orbit::ElementSet,
};

/// Every line of a moment, and what each MODCOD makes of it.
pub fn moment(
    of: &Described,
    budget: &Budget,
    lines: &[Line],
    margins: &[Margin],
) -> anyhow::Result<()> {
    say!(
        "{}, {:.2}° high, {:.1} km away, {} GHz",
        of.station.name,
        budget.elevation_deg,
        budget.range_km,
        of.link.transmitter.frequency_ghz
    );
    for line in lines {
        let (mark, name) = match line.part {
            Part::Term => (' ', line.name.to_owned()),
            Part::Sum => ('=', line.name.to_owned()),
            Part::Beside => (' ', format!("  {}", line.name)),
        };
        let words = match (line.how.as_str(), line.source) {
            ("", source) => source.to_owned(),
            (how, "") => how.to_owned(),
            (how, source) => format!("{how} ({source})"),
        };
        let text = format!("{mark} {name:<30} {:>10.3} {:<9} {words}", line.value, line.unit);
        say!("{}", text.trim_end());
    }
    say!("");
    say!(
        "  {:<34} {:>9} {:>9} {:>9} {:>11}  frames lost",
        "MODCOD",
        "Es/N0",
        "Eb/N0",
        "margin",
        "rate"
    );
    for margin in margins {
        let mark = if margin.margin_db >= 0.0 { ' ' } else { '-' };
        say!(
            "{mark} {:<34} {:>6.2} dB {:>6.2} dB {:>6.2} dB {:>6.2} Mb/s  {:.1e}",
            margin.modcod,
            margin.needed_es_n0_db,
            margin.needed_eb_n0_db,
            margin.margin_db,
            margin.rate_bps / 1e6,
            margin.frame_error
        );
    }
    Ok(())
}

/// The lines as comma-separated values.
pub fn comma_separated(lines: &[Line]) -> anyhow::Result<()> {
    say!("name,value,unit,part,how,source");
    for line in lines {
        let part = match line.part {
            Part::Term => "term",
            Part::Sum => "sum",
            Part::Beside => "beside",
        };
        let [how, source] = [line.how.as_str(), line.source].map(quoted);
        say!("{},{:.6},{},{part},{how},{source}", line.name, line.value, line.unit);
    }
    Ok(())
}

/// A pass as a table.
pub fn pass(
    set: &ElementSet,
    of: &Described,
    pass: &Pass,
    rows: &[Row],
    totals: &Totals,
) -> anyhow::Result<()> {
    say!(
        "{} over {}: {} to {}, up to {:.1}°",
        set.name(),
        of.station.name,
        pass.rise.to_rfc3339(),
        pass.set.to_rfc3339(),
        pass.max_elevation_deg
    );
    say!(
        "{:>8} {:>6} {:>8} {:>8} {:>7} {:>7}  {:<22} {:>7} {:>10}  {:<8} {:>6}",
        "after",
        "up",
        "range",
        "Doppler",
        "clear",
        "Es/N0",
        "MODCOD",
        "margin",
        "rate",
        "lost",
        "flux"
    );
    for row in rows {
        let flux = row.flux_margin_db.map_or_else(|| "-".to_owned(), |of| format!("{of:.1} dB"));
        say!(
            "{:>6.0} s {:>5.1}° {:>5.0} km {:>+7.1}k {:>7.2} {:>7.2}  {:<22} {:>7.2} {:>5.1} Mb/s  {:<8.1e} {:>6}",
            row.since_s,
            row.elevation_deg,
            row.range_km,
            row.doppler_hz / 1e3,
            row.clear_es_n0_db,
            row.es_n0_db,
            row.modcod,
            row.margin_db,
            row.rate_bps / 1e6,
            row.frame_error,
            flux
        );
    }
    let share = if totals.best_bits > 0.0 { 100.0 * totals.bits / totals.best_bits } else { 0.0 };
    say!(
        "{:.0} s, {:.3} GB for the user, {share:.1} % of what the best MODCOD of each instant carries",
        totals.seconds,
        totals.bits / 8e9
    );
    if let Some(margin) = totals.flux_margin_db.filter(|margin| *margin < 0.0) {
        say!("the flux at the ground is {:.1} dB above its limit at worst", -margin);
    }
    Ok(())
}

/// A pass as comma-separated values.
pub fn pass_comma_separated(rows: &[Row]) -> anyhow::Result<()> {
    say!(
        "time,since_s,azimuth_deg,elevation_deg,range_km,range_rate_km_s,doppler_hz,clear_es_n0_db,es_n0_db,modcod,\
         needed_es_n0_db,margin_db,rate_bps,frame_error,flux_margin_db"
    );
    for row in rows {
        let flux = row.flux_margin_db.map(|of| format!("{of:.3}")).unwrap_or_default();
        say!(
            "{},{:.3},{:.3},{:.4},{:.3},{:.6},{:.1},{:.4},{:.4},{},{:.4},{:.4},{:.0},{:.3e},{flux}",
            row.time,
            row.since_s,
            row.azimuth_deg,
            row.elevation_deg,
            row.range_km,
            row.range_rate_km_s,
            row.doppler_hz,
            row.clear_es_n0_db,
            row.es_n0_db,
            quoted(row.modcod),
            row.needed_es_n0_db,
            row.margin_db,
            row.rate_bps,
            row.frame_error
        );
    }
    Ok(())
}

/// Text as RFC 4180 wants it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

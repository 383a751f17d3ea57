//! A reload in the middle of a pass: what the new file allows goes on, what it does not ends, and
//! a file with a mistake changes nothing.

use super::{
    certificates::issue,
    client::{Client, Identity, Station, object},
    range, still_serves,
};
use groundstation::admit::KeyHash;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use serde_json::Value;

/// Puts another certificate and key in the station's place; the certificate.
fn roll(station: &Station) -> CertificateDer<'static> {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let identity = issue(station, &key, |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("station".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let der = identity.chain[0].clone();
    let pem = |kind: &str, der: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
    };
    std::fs::write(station.path("identity/station.crt"), pem("CERTIFICATE", &der)).unwrap();
    std::fs::write(station.path("identity/station.key"), key.serialize_pem()).unwrap();
    der
}

/// Whom a client met.
fn met(client: &Client) -> CertificateDer<'static> {
    let identity = client.connection.peer_identity().unwrap();
    identity.downcast::<Vec<CertificateDer<'static>>>().unwrap()[0].clone()
}

/// Takes the row of spacecraft 8 out of the table.
fn revoke(station: &Station) {
    station.configure(|text| {
        let (before, row) = text.split_once("[[principal]]\nname = \"b\"").unwrap();
        let after = row.find("\n[").map_or("", |next| &row[next..]);
        format!("{before}{after}")
    });
}

#[tokio::test]
async fn a_certificate_rolls_and_a_key_is_revoked_in_mid_object() {
    let station = Station::start();
    // The object below is silent for as long as a reload takes.
    station.configure(|text| text.replace("object_stall_s = 1", "object_stall_s = 60"));
    let reload = || -> Value {
        let (done, said) = station.command(&["reload", "--json"]);
        assert!(done, "{said}");
        serde_json::from_str(&said).unwrap()
    };
    assert_eq!(reload()["changed"], serde_json::json!(["listen.object_stall_s"]));
    let mut client = station.honest().await;
    let mut revoked = Client::connect(&station, Some(station.identity("b"))).await.unwrap();
    revoked.hello(1).await;
    let whole = object(1, 0, 8, |_| {});
    let mut stream = client.connection.open_uni().await.unwrap();
    stream.write_all(&whole[..whole.len() / 2]).await.unwrap();
    client.receipted(1, range(0, 0)).await;

    let certificate = roll(&station);
    revoke(&station);
    let said = reload();
    assert_eq!(said, serde_json::json!({ "changed": ["principal"], "restart": [] }));

    // Who is in the table no more is closed, and stays out.
    assert!(revoked.closed().await.contains("not enrolled"), "{}", revoked.closed().await);
    station.counted("/peers_rejected/revoked", 1).await;
    // Closed while it still connects, or just after.
    let said = match Client::connect(&station, Some(station.identity("b"))).await {
        Ok(again) => again.closed().await,
        Err(error) => error.to_string(),
    };
    assert!(said.contains("not enrolled"), "{said}");

    // Everyone else goes on where they were, in the same connection and the same object.
    stream.write_all(&whole[whole.len() / 2..]).await.unwrap();
    stream.finish().unwrap();
    client.receipted(1, range(7, 7)).await;
    assert_ne!(met(&client), certificate);
    let fresh = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    assert_eq!(met(&fresh), certificate);
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_mistake_leaves_the_old_rules_in_force_and_is_named() {
    let station = Station::start();
    let mut client = station.honest().await;
    let good = std::fs::read_to_string(station.path("station.toml")).unwrap();
    let key = std::fs::read_to_string(station.path("identity/station.key")).unwrap();
    let refused = |what: &str| {
        let (done, said) = station.command(&["reload"]);
        assert!(!done && said.contains(what), "{said}");
    };
    station.configure(|text| text.replace("[archive]", "[arhcive]"));
    refused("did you mean `archive`?");
    std::fs::write(station.path("station.toml"), &good).unwrap();

    station.configure(|text| text.replace("spacecraft = [8]", "spacecraft = [99]"));
    refused("may act for spacecraft 99, which this mission does not have");
    std::fs::write(station.path("station.toml"), &good).unwrap();

    // A key that does not go with the certificate, then none.
    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    std::fs::write(station.path("identity/station.key"), other).unwrap();
    refused("do not belong together");
    std::fs::write(station.path("identity/station.key"), "nothing").unwrap();
    refused("no private key in PEM");
    // Asked for by signal, the mistake is in the log and the daemon goes on as well.
    station.daemon.hang_up();
    refused("no private key in PEM");

    client.object(object(1, 0, 4, |_| {})).await;
    client.receipted(1, range(0, 3)).await;
    still_serves(&station, 0).await;
    std::fs::write(station.path("identity/station.key"), key).unwrap();
    let (done, said) = station.command(&["reload"]);
    assert!(done, "{said}");
}

#[tokio::test]
async fn operators_and_the_contact_plan_change_without_a_restart() {
    let station = Station::start();
    let send = |operator: &str| {
        let object = ["--spacecraft", "7", "--kind", "command", "--text", "ping"];
        let named = ["uplink", "send", "--operator", operator];
        station.command(&[&named[..], &object[..]].concat())
    };
    assert!(send("local").0);
    let plan = r#"{"contacts":[],"track":[],"mine":true}"#;
    std::fs::write(station.path("plan.json"), plan).unwrap();
    station.configure(|text| {
        let (before, own) = text.split_once("[[operator]]").unwrap();
        let own = own.replacen("actions = [\"command\"]", "actions = []", 1);
        let night = "name = \"night\"\ntoken = \"operators/night.token\"\nspacecraft = [7]\n\
                     actions = [\"command\"]\n";
        format!(
            "{before}[contacts]\nfile = \"plan.json\"\n\n[[operator]]\n{night}\n[[operator]]{own}"
        )
    });
    let (done, said) = station.command(&["reload", "--json"]);
    assert!(done, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let changed = serde_json::json!(["contacts.file", "operator"]);
    assert_eq!(said, serde_json::json!({ "changed": changed, "restart": [] }));
    // The token of the new one was made, and who may no longer is told.
    let (done, said) = send("night");
    assert!(done, "{said}");
    let (done, said) = send("local");
    assert!(!done && said.contains("local may not command for spacecraft 7"), "{said}");
    assert_eq!(tests::process::get(&station.http, "/api/v1/contacts")["mine"], true);
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let station = Station::start();
    station.configure(|text| text.replace("[archive]", "[archive]\ncommit_ms = 20"));
    station.configure(|text| text.replace("[listen]", "[listen]\nconnections_max = 3"));
    let (done, said) = station.command(&["reload"]);
    assert!(done, "{said}");
    assert!(said.contains("in force: certificates, keys, listen.connections_max"), "{said}");
    assert!(said.contains("wait for a restart: archive.commit_ms"), "{said}");
    still_serves(&station, 0).await;
}

#[tokio::test]
async fn a_spacecraft_rolls_its_key_in_mid_pass_and_no_unit_is_numbered_anew() {
    let station = Station::start();
    let mut old = station.honest().await;
    old.object(object(1, 0, 4, |_| {})).await;
    old.receipted(1, range(0, 3)).await;

    // The next key is a second row of the same origin.
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let next =
        || Identity { origin: station.identity("a").origin, ..issue(&station, &key, |_| {}) };
    let hash = KeyHash::of(&key.subject_public_key_info());
    let row = format!(
        "[[principal]]\nname = \"a-next\"\nkey = \"{hash}\"\norigin = \"{}\"\nspacecraft = [7]\n\
         actions = [\"deliver\"]\n\n",
        station.identity("a").origin
    );
    station.configure(|text| text.replacen("[[principal]]", &format!("{row}[[principal]]"), 1));
    let (done, said) = station.command(&["reload"]);
    assert!(done, "{said}");
    // The old key's session delivers on.
    old.object(object(1, 4, 4, |_| {})).await;
    old.receipted(1, range(4, 7)).await;
    let mut new = Client::connect(&station, Some(next())).await.unwrap();
    let durable = new.hello(2).await;
    assert_eq!(durable[0].ranges, [range(0, 7)], "the same counters, under another key");
    new.object(object(1, 8, 4, |_| {})).await;
    new.receipted(1, range(8, 11)).await;

    // The old row goes; the new key's session stays.
    station.configure(|text| {
        let (before, row) = text.split_once("[[principal]]\nname = \"a\"").unwrap();
        let after = row.find("\n[").map_or("", |next| &row[next..]);
        format!("{before}{after}")
    });
    assert!(station.command(&["reload"]).0);
    let refused = Client::connect(&station, Some(station.identity("a"))).await.unwrap();
    assert!(refused.closed().await.contains("not enrolled"));
    new.object(object(1, 12, 4, |_| {})).await;
    new.receipted(1, range(12, 15)).await;
    assert_eq!(station.audit()["keys"][0]["ranges"], serde_json::json!([[0, 15]]));
}

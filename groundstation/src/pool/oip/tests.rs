use super::*;
use proptest::prelude::*;

fn tensors() -> Vec<Tensor> {
    let raw = |name: &str, dtype: DType, bytes: Vec<u8>| {
        let count = (bytes.len() / dtype.size()) as u64;
        Tensor::new(name, dtype, vec![1, count], bytes.into()).unwrap()
    };
    vec![
        raw("a", DType::U8, vec![0, 1, 255]),
        raw("b", DType::I16, vec![0, 128, 255, 255]),
        raw("c", DType::U64, u64::MAX.to_le_bytes().to_vec()),
        raw("d", DType::I64, i64::MIN.to_le_bytes().to_vec()),
        raw("e", DType::F32, 0.1f32.to_le_bytes().to_vec()),
        raw("f", DType::F64, (-2.5e300f64).to_le_bytes().to_vec()),
        raw("g", DType::Bool, vec![1, 0]),
        raw("h", DType::I8, vec![128]),
        raw("i", DType::U16, vec![1, 2]),
        raw("j", DType::U32, vec![1, 2, 3, 255]),
        raw("k", DType::I32, vec![1, 2, 3, 255]),
    ]
}

#[test]
fn raw_and_typed_contents_come_back() {
    for binary in [false, true] {
        let body = write_question("q", &tensors(), binary).whole();
        assert_eq!(body.json_length.is_some(), binary);
        let question = read_question(&body).unwrap();
        assert_eq!((question.inputs, question.wanted), (tensors(), Wanted::all(binary)));
        let outputs = Wanted::all(binary).of(tensors()).unwrap();
        let answer =
            read_answer(&write_answer("m", "3", "q", &outputs).whole(), BODY_BYTES_MAX).unwrap();
        assert_eq!((answer.outputs, answer.model.as_str()), (tensors(), "m 3"));
    }
}

#[test]
fn raw_elements_are_not_copied_and_begin_where_any_type_may() {
    for id in ["", "1", "22", "333", "4444", "a long name of a question"] {
        let written = write_question(id, &tensors(), true);
        assert_eq!(written.json_length.unwrap() % 8, 0, "{id:?}");
        for (part, tensor) in written.parts.iter().skip(1).zip(&tensors()) {
            assert_eq!(part, &tensor.data);
        }
        let tensor = &tensors()[10..];
        let written = write_question(id, tensor, true);
        assert_eq!(written.parts[1].as_ptr(), tensor[0].data.as_ptr(), "copied");
    }
}

#[test]
fn inputs_in_shared_memory_are_read_from_where_they_lie() {
    let (inputs, offsets) = (&tensors()[9..], [64, 128]);
    let body = write_shared("q", inputs, "memory", &offsets).whole();
    assert!(body.bytes.len() < 500 && body.json_length.is_none());
    let read = |region: &str, offset: u64, bytes: u64| {
        assert_eq!(region, "memory");
        let at = offsets.iter().position(|known| *known == offset).unwrap();
        assert_eq!(bytes, inputs[at].data.len() as u64);
        Ok(inputs[at].data.clone())
    };
    let question = read_question_with(&body, &read).unwrap();
    assert_eq!((&question.inputs[..], question.wanted), (inputs, Wanted::all(true)));
    assert!(read_question(&body).unwrap_err().0.contains("no shared memory region \"memory\""));
    // What is read in all is bounded before anything is.
    let text = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","parameters":
        {"shared_memory_region":"memory","shared_memory_byte_size":67108865}}]}"#;
    let body = Body { bytes: Bytes::from_static(text), json_length: None };
    let read = |_: &str, _, _| panic!("read");
    assert!(read_question_with(&body, &read).unwrap_err().0.contains("67108864"));
}

#[test]
fn outputs_come_as_they_are_asked_for() {
    let text = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":[1]}],
        "parameters":{"binary_data_output":true},
        "outputs":[{"name":"j"},{"name":"b","parameters":{"binary_data":false}}]}"#;
    let body = Body { bytes: Bytes::from_static(text), json_length: None };
    let question = read_question(&body).unwrap();
    let outputs = question.wanted.of(tensors()).unwrap();
    let forms: Vec<_> = outputs.iter().map(|(tensor, raw)| (&*tensor.name, *raw)).collect();
    assert_eq!(forms, [("j", true), ("b", false)]);
    let mixed = write_answer("m", "1", "", &outputs).whole();
    assert_eq!(mixed.bytes.len() - mixed.json_length.unwrap(), 4, "only the first is raw");
    let names: Vec<_> = read_answer(&mixed, BODY_BYTES_MAX).unwrap().outputs;
    assert_eq!(names, [tensors().remove(9), tensors().remove(1)]);
    let unknown = Wanted { binary: true, named: vec![("tea".into(), None)] };
    assert!(unknown.of(tensors()).unwrap_err().0.contains("no output \"tea\"; there are a, b"));
}

#[test]
fn nested_arrays_and_missing_extras_are_read() {
    let text = br#"{"model_name":"m","outputs":[
        {"name":"y","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3,-4]]}]}"#;
    let body = Body { bytes: Bytes::from_static(text), json_length: None };
    let answer = read_answer(&body, BODY_BYTES_MAX).unwrap();
    assert_eq!(answer.outputs[0].to_f32().unwrap(), [1.0, 2.5, 3.0, -4.0]);
    assert_eq!(answer.model, "m");
}

#[test]
fn contradictions_are_named() {
    let read = |text: &str, tail: &[u8]| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend_from_slice(tail);
        let body = Body { bytes: bytes.into(), json_length: Some(text.len()) };
        read_question(&body).unwrap_err().0
    };
    let one = |tensor: &str| format!("{{\"inputs\":[{{\"name\":\"x\",{tensor}}}]}}");
    let raw = "\"parameters\":{\"binary_data_size\":4}";
    for (tensor, tail, words) in [
        ("\"shape\":[1],\"datatype\":\"FP99\",\"data\":[1]", &b""[..], "FP99"),
        ("\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"x\"]", b"", "BYTES"),
        ("\"shape\":[2],\"datatype\":\"UINT8\",\"data\":[1]", b"", "want 2 bytes, the data has 1"),
        ("\"shape\":[1],\"datatype\":\"UINT8\",\"data\":[256]", b"", "256 is no UINT8"),
        ("\"shape\":[1],\"datatype\":\"UINT8\",\"data\":[null]", b"", "null is no UINT8"),
        ("\"shape\":[1],\"datatype\":\"FP32\"", b"", "raw or typed"),
        (&format!("\"shape\":[1],\"datatype\":\"FP32\",{raw}"), b"123", "raw bytes missing"),
        (&format!("\"shape\":[1],\"datatype\":\"FP32\",{raw}"), b"12345", "no tensor"),
        (&format!("\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1],{raw}"), b"", "raw or typed"),
    ] {
        let error = read(&one(tensor), tail);
        assert!(error.contains(words), "{tensor}: {error}");
    }
    let body = Body { bytes: Bytes::from_static(b"{}"), json_length: Some(3) };
    assert!(read_question(&body).unwrap_err().0.contains("says 3"));
}

#[test]
fn what_is_no_json_is_told_as_a_person_reads_it() {
    let read = |text: &str| {
        let body = Body { bytes: Bytes::from(text.to_owned()), json_length: None };
        read_answer(&body, BODY_BYTES_MAX).unwrap_err().0
    };
    let answer = |data: &str| {
        format!(
            "{{\"model_name\":\"m\",\n \"outputs\":[{{\"name\":\"y\",\"shape\":[2],\
             \"datatype\":\"FP32\",\"data\":[{data}]}}]}}"
        )
    };
    for number in ["NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf"] {
        let told = read(&answer(&format!("0.5, {number}")));
        let word = number.trim_start_matches('-');
        assert!(told.contains(&format!("{word} stands in it")), "{number}: {told}");
        assert!(!told.contains("expected value"), "{told}");
    }
    assert!(read("").contains("empty"));
    assert!(read("<html><body>502</body>").contains("HTML"));
    assert!(read(&answer("1, 2")[..40]).contains("cut short"));
    assert!(read(&answer("1, tea")).contains("no JSON"));
    assert!(read("{\"outputs\":[]}").contains("missing field `model_name`"));
    assert!(read(&answer("1, null")).contains("null is no FP32"));
}

#[test]
fn a_question_of_a_sequence_is_refused_by_its_name() {
    let read = |parameters: &str| {
        let text = format!(
            "{{\"parameters\":{{{parameters}}},\"inputs\":[{{\"name\":\"x\",\"shape\":[1],\
             \"datatype\":\"UINT8\",\"data\":[1]}}]}}"
        );
        read_question(&Body { bytes: text.into(), json_length: None })
    };
    for (key, value) in [
        ("sequence_id", "7"),
        ("sequence_id", "\"a\""),
        ("sequence_start", "true"),
        ("sequence_end", "true"),
    ] {
        let told = read(&format!("\"{key}\":{value}")).unwrap_err().0;
        assert!(told.contains("sequences") && told.contains(key), "{told}");
    }
    // Clients write these for a question that stands alone.
    assert!(read("\"sequence_id\":0,\"sequence_start\":false,\"sequence_end\":false").is_ok());
    assert!(read("\"priority\":3").is_ok());
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..400, flip in 0usize..400,
        length in proptest::option::of(0usize..400), binary in any::<bool>(),
    ) {
        let _ = read_answer(&Body { bytes: bytes.into(), json_length: length }, BODY_BYTES_MAX);
        let whole = write_question("q", &tensors(), binary).whole();
        let mut bytes = whole.bytes.to_vec();
        let place = flip % bytes.len();
        bytes[place] ^= 1 << (flip % 8);
        bytes.truncate(cut);
        let _ = read_question(&Body { bytes: bytes.into(), json_length: whole.json_length });
    }
}

use super::*;

fn contract(inputs: Vec<Port>, outputs: Vec<Port>) -> Contract {
    let kind = Kind::Tensors { inputs, outputs };
    Contract { task: "screen/1".into(), about: "share of cloud.".into(), kind, tolerance: 0.01 }
}

fn port(name: &str, dtype: DType, shape: &[u64], range: Option<(f64, f64)>) -> Port {
    Port { name: name.into(), dtype, shape: shape.into(), unit: "%".into(), range }
}

fn screen(channels: u64) -> (Contract, Tensor) {
    let tile = port("tile", DType::U8, &[0, channels, 8, 8], None);
    let outputs = vec![
        port("mask", DType::F32, &[0, 2, 2], Some((0.0, 1.0))),
        port("count", DType::U16, &[0], None),
    ];
    let pixels: Vec<u8> = (0..2 * channels * 64).map(|at| at as u8).collect();
    let tensor = Tensor::new("tile", DType::U8, vec![2, channels, 8, 8], pixels.into()).unwrap();
    (contract(vec![tile], outputs), tensor)
}

fn images(document: &Document) -> Vec<Vec<u8>> {
    let parts = document.messages[0].parts.iter();
    let images = parts.filter_map(|part| match part {
        Part::Image { data, .. } => Some(data.clone()),
        Part::Text(_) => None,
    });
    let decoded = images.map(|data| {
        let mut reader = png::Decoder::new(std::io::Cursor::new(&data[..])).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    });
    decoded.collect()
}

#[test]
fn every_band_of_a_picture_reaches_the_model_as_it_is() {
    let (contract, tile) = screen(4);
    let document = document(&contract, std::slice::from_ref(&tile), 2).unwrap();
    assert_eq!(images(&document).concat(), tile.data, "four bands of two tiles");
    let (contract, tile) = screen(3);
    let document = super::document(&contract, std::slice::from_ref(&tile), 2).unwrap();
    let shown = images(&document);
    assert_eq!((shown.len(), &shown[1][..4]), (2, &[192, 0, 64, 193][..]), "in colour");
    let schema = &document.schema.unwrap().value;
    assert_eq!(schema["required"], json!(["mask", "count"]));
    let rows = &schema["properties"]["mask"]["items"];
    assert_eq!((&rows["minItems"], &rows["items"]["items"]["type"]), (&json!(2), &json!("number")));
    let about = schema["properties"]["mask"]["description"].as_str().unwrap();
    assert_eq!(about, "\"mask\": FP32 [2, 2, 2], each from 0 to 1, in %.");
}

#[test]
fn numbers_go_as_numbers() {
    let window = port("window", DType::F32, &[0, 2], None);
    let score = port("score", DType::F32, &[0, 1], Some((0.0, 1.0)));
    let given = Tensor::from_f32("window", vec![2, 2], &[0.5, 1.0, -2.0, 3.25]).unwrap();
    let asked = document(&contract(vec![window], vec![score]), &[given], 2).unwrap();
    let Part::Text(text) = &asked.messages[0].parts[0] else { panic!("{asked:?}") };
    assert!(text.ends_with("[[0.5,1.0],[-2.0,3.25]]"), "{text}");
    assert!(asked.system.contains("\"score\": FP32 [2, 1], each from 0 to 1"), "{}", asked.system);
}

#[test]
fn what_a_model_could_never_say_is_refused_before_it_is_asked() {
    let (_, tile) = screen(4);
    let inputs = || vec![port("tile", DType::U8, &[0, 4, 8, 8], None)];
    for shape in [&[0, 3_000][..], &[0, u64::MAX, 2][..]] {
        let many = contract(inputs(), vec![port("mask", DType::F32, shape, None)]);
        let error = document(&many, std::slice::from_ref(&tile), 2).unwrap_err();
        assert!(error.contains("more than 4096 numbers"), "{error}");
    }
    let few = contract(inputs(), vec![port("share", DType::F32, &[0], None)]);
    let pixels = vec![0; 300 * 4 * 64];
    let many = Tensor::new("tile", DType::U8, vec![300, 4, 8, 8], pixels.into()).unwrap();
    let error = document(&few, &[many], 300).unwrap_err();
    assert!(error.contains("neither pictures"), "{error}");
}

#[test]
fn answers_become_tensors_only_in_the_contract_s_shape() {
    let (contract, _) = screen(4);
    let good = json!({ "mask": [[[0, 0.5], [1.0, 0]], [[1, 1], [1, 1]]], "count": [3, 4.0] });
    let found = tensors(&contract, &good, 2).unwrap();
    assert_eq!(contract.check_outputs(&found, 2), Ok(()));
    assert_eq!(found[0].to_f32().unwrap(), [0.0, 0.5, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(&found[1].data[..], [3, 0, 4, 0]);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for (key, wrong, says) in [
        ("mask", json!([[[0, 0], [0, 0]]]), "1 items where 2 belong"),
        ("mask", json!([[[0, 0], [0]], [[0, 0], [0, 0]]]), "1 items where 2 belong"),
        ("mask", json!([[[0, 0], [0, null]], [[0, 0], [0, 0]]]), "null for a number"),
        ("mask", json!([[[0, 0], [0, "NaN"]], [[0, 0], [0, 0]]]), "a text for a number"),
        ("mask", json!([deep, 1]), "1 items where 2 belong"),
        ("mask", json!(7), "7 for 2 items"),
        ("count", json!([3, 70_000]), "70000 for a number"),
        ("count", json!([3, -1]), "-1 for a number"),
        ("count", json!([3, 1.5]), "1.5 for a number"),
        ("note", json!("hello"), "no output"),
    ] {
        let mut answer = good.clone();
        answer[key] = wrong;
        let error = tensors(&contract, &answer, 2).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let mut without = good;
    without.as_object_mut().unwrap().remove("count");
    assert!(tensors(&contract, &without, 2).unwrap_err().contains("\"count\": missing"));
    assert!(tensors(&contract, &Value::Null, 2).is_err());
}

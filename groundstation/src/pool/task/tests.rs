use super::*;
use crate::pool::Answer;

fn floats(name: &str, shape: &[u64], value: f32) -> Tensor {
    let count = shape.iter().product::<u64>() as usize;
    Tensor::from_f32(name, shape.to_vec(), &vec![value; count]).unwrap()
}

fn of(task: &str) -> Arc<Contract> {
    Contracts::default().of(task).unwrap().clone()
}

#[test]
fn an_answer_must_be_what_the_contract_says() {
    let contract = of("cloud-mask/1");
    let mask = floats("mask", &[2, 1, 16, 16], 0.5);
    let fraction = floats("fraction", &[2, 1], 0.43);
    let good = [fraction.clone(), mask.clone()];
    assert_eq!(contract.check_outputs(&good, 2), Ok(()));
    assert_eq!(summary(&contract, &Output::Tensors(good.to_vec())), "cloud 43 %");
    for (bad, words) in [
        (vec![mask.clone()], "no tensor \"fraction\""),
        (vec![fraction.clone(), floats("mask", &[2, 16, 16], 0.0)], "is FP32 [2, 16, 16]"),
        (vec![mask.clone(), floats("fraction", &[2, 1], 1.5)], "holds 1.5"),
        (vec![mask.clone(), floats("fraction", &[2, 1], f32::NAN)], "holds NaN"),
        (vec![mask, floats("fraction", &[1, 1], 0.5)], "batch of 1"),
    ] {
        let error = contract.check_outputs(&bad, 2).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(contract.check_outputs(&good, 1).is_err(), "more answers than questions");
}

#[test]
fn outputs_that_nobody_asked_for_are_left_out_and_one_that_comes_twice_breaks_the_contract() {
    let contract = of("telemetry-triage/1");
    let score = |value| floats("score", &[1, 1], value);
    let more = vec![score(0.5), floats("more", &[1], 9.0)];
    assert_eq!(check_output(&contract, &Output::Tensors(more), 1), Ok(()));
    for twice in [
        vec![score(0.5), score(0.9)],
        vec![score(0.5), floats("more", &[1], 9.0), score(0.5)],
        vec![floats("more", &[1], 9.0), score(0.5), floats("more", &[1], 9.0)],
    ] {
        let error = check_output(&contract, &Output::Tensors(twice), 1).unwrap_err().to_string();
        assert!(error.contains("answered twice, the contract says once"), "{error}");
    }
}

#[test]
fn questions_are_checked_too() {
    let contract = of("telemetry-triage/1");
    assert_eq!(contract.check_inputs(&[floats("features", &[3, 18], 9.0)]), Ok(3));
    assert!(contract.check_inputs(&[floats("features", &[0, 18], 9.0)]).is_err());
    assert!(contract.check_inputs(&[floats("features", &[1, 18], f32::INFINITY)]).is_err());
    assert!(contract.check_inputs(&[]).is_err());
    let unknown = Contracts::default().of("tea/1").unwrap_err().to_string();
    assert!(unknown.contains("known are alarm-report/1, cloud-mask/1"), "{unknown}");
}

fn told(name: &str, datatype: &str, shape: &[i64]) -> PortMetadata {
    PortMetadata { name: name.into(), datatype: datatype.into(), shape: shape.into() }
}

#[test]
fn a_server_s_own_words_are_held_against_the_contract() {
    let contract = of("cloud-mask/1");
    let good = ModelMetadata {
        name: "screen".into(),
        versions: vec![],
        inputs: vec![told("tile", "UINT8", &[-1, 4, 64, 64])],
        outputs: vec![
            told("fraction", "FP32", &[-1, 1]),
            told("mask", "FP32", &[-1, 1, 16, 16]),
            told("more", "FP32", &[1]),
        ],
    };
    assert_eq!(check_metadata(&contract, &good), Ok(()));
    // A server that batches by itself says what one item is.
    let mut own_batch = good.clone();
    own_batch.inputs[0].shape = vec![4, 64, 64];
    assert_eq!(check_metadata(&contract, &own_batch), Ok(()));
    let bad = |change: fn(&mut ModelMetadata)| {
        let mut metadata = good.clone();
        change(&mut metadata);
        check_metadata(&contract, &metadata).unwrap_err().to_string()
    };
    assert!(bad(|m| m.inputs[0].datatype = "FP32".into()).contains("says UINT8"));
    assert!(bad(|m| m.inputs[0].shape[1] = 3).contains("[-1, 3, 64, 64]"));
    assert!(bad(|m| drop(m.outputs.remove(0))).contains("no tensor \"fraction\""));
    assert!(bad(|m| m.inputs.push(told("b", "FP32", &[1]))).contains("the model wants"));
}

#[test]
fn a_form_is_filled_as_asked_or_refused() {
    let contract = of("pass-report/1");
    let schema = schema(&contract).unwrap();
    assert_eq!(
        (schema.name.as_str(), schema.value["additionalProperties"].as_bool()),
        ("pass_report_1", Some(false))
    );
    assert_eq!(schema.value["required"], json!(["report", "severity", "findings"]));
    let good = json!({"report": "All well.", "severity": "watch", "findings": ["a", "b"]});
    assert_eq!(check_form(&contract, &good), Ok(()));
    let answer = Answer { text: good.to_string(), value: Some(good.clone()) };
    assert_eq!(summary(&contract, &Output::Document(answer)), "watch: All well.");
    for (key, value, words) in [
        ("report", json!(""), "empty"),
        ("severity", json!("panic"), "none of nothing, watch, act"),
        ("findings", json!([1]), "no list of texts"),
        ("mood", json!("fine"), "no field of this form"),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let error = check_form(&contract, &bad).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(check_form(&contract, &json!("words")).is_err());
    let silent = Output::Document(Answer { text: "words".into(), value: None });
    assert!(check_output(&contract, &silent, 1).is_err());
}

#[test]
fn answers_of_two_pools_are_compared() {
    let contract = of("telemetry-triage/1");
    let score = |value| Output::Tensors(vec![floats("score", &[1, 1], value)]);
    assert!(compare(&contract, &score(0.50), &score(0.51)).1);
    let (apart, same) = compare(&contract, &score(0.5), &score(0.75));
    assert!((apart - 0.25).abs() < 1e-9 && !same);
    assert!(!compare(&contract, &score(0.5), &Output::Tensors(vec![])).1);
}

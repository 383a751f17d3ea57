//! The manifest for KServe and the station's row that finds its pods belong together.

use crate::{adapters::station, python};
use groundstation::{
    config::Config, pool::kubernetes::Port, router::discovery::Source, shell::pools,
};
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};
use tests::process::{binary, root};

/// Fields of KServe's custom resource (v1beta1) and of a pod's container that the manifest may use.
const PREDICTOR: [&str; 4] = ["minReplicas", "maxReplicas", "containers", "serviceAccountName"];
const CONTAINER: [&str; 8] =
    ["name", "image", "command", "args", "env", "ports", "readinessProbe", "resources"];

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn by_kind<'a>(documents: &'a Value, kind: &str) -> &'a Value {
    documents.as_array().unwrap().iter().find(|document| document["kind"] == kind).unwrap()
}

#[test]
fn the_stations_row_for_kserve_is_read_and_names_where_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    let row = std::fs::read_to_string(root().join("deploy/kserve/station-pool.toml")).unwrap();
    let file = station(dir.path(), &row);
    let config = Config::load(&file).unwrap();
    pools::check(&config).unwrap();
    let source = config.pools[0].source().unwrap().unwrap();
    let Source::Kubernetes { namespace, service, port: Port::Number(port) } = source else {
        panic!("{source}")
    };
    let yaml = root().join("deploy/kserve/cloud-screen.yaml");
    let Some(said) = python::run("yaml_to_json.py", &[&yaml.display().to_string()]) else { return };
    let documents: Value = serde_json::from_str(&said).unwrap();
    let served = by_kind(&documents, "InferenceService");
    assert_eq!(served["apiVersion"], "serving.kserve.io/v1beta1");
    assert_eq!(keys(served), ["apiVersion", "kind", "metadata", "spec"].into());
    assert_eq!(keys(&served["spec"]), ["predictor"].into());
    let predictor = &served["spec"]["predictor"];
    assert!(keys(predictor).is_subset(&PREDICTOR.into()), "{predictor}");
    // KServe names the service of a predictor after it.
    let name = format!("{}-predictor", served["metadata"]["name"].as_str().unwrap());
    assert_eq!(
        (served["metadata"]["namespace"].as_str(), name.as_str()),
        (Some(&*namespace), &*service)
    );
    let container = &predictor["containers"][0];
    assert_eq!(container["name"], "kserve-container", "the name that KServe looks for");
    assert!(keys(container).is_subset(&CONTAINER.into()), "{container}");
    assert_eq!(container["ports"][0]["containerPort"], port);
    let arguments: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(arguments.contains(&&*format!("--grpc=0.0.0.0:{port}")), "{arguments:?}");
    let probe = &container["readinessProbe"]["httpGet"];
    assert!(arguments.contains(&&*format!("--listen=0.0.0.0:{}", probe["port"])), "{arguments:?}");
    // An argument that the program does not know is refused before help is shown.
    let shown = Command::new(binary("groundstation")).args(&arguments).arg("--help").output();
    assert!(shown.unwrap().status.success(), "{arguments:?}");
    // What discovery asks the cluster for is what the role allows.
    let rule = &by_kind(&documents, "Role")["rules"][0];
    assert_eq!(rule["apiGroups"][0], "discovery.k8s.io");
    assert_eq!(
        (&rule["resources"][0], &rule["verbs"][0]),
        (&"endpointslices".into(), &"list".into())
    );
}

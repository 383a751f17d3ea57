//! Ready endpoints of a service, as the API of the cluster that this process runs in lists them
//! (`discovery.k8s.io/v1`, EndpointSlice).

use super::dial::Transport;
use super::https::{Site, header};
use super::{PoolError, SecretSource};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Most bytes of a list.
const LIST_BYTES_MAX: usize = 8 << 20;

/// Where a pod finds what its service account may show.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// By its number, on the pods.
    Number(u16),
    /// By the name that the service gives it.
    Name(String),
}

/// The API of a cluster, asked about one service.
pub struct Service {
    site: Site,
    token: SecretSource,
    path: String,
    port: Port,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Slice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    #[serde(default)]
    address_type: String,
    #[serde(default, deserialize_with = "nullable")]
    endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<SlicePort>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default, deserialize_with = "nullable")]
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    conditions: Conditions,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct SlicePort {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    port: Option<u16>,
}

/// What is null is as good as absent: the API's own libraries write empty lists so.
fn nullable<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Service {
    /// A service in the cluster that this process runs in, by the account that its pod has.
    pub fn in_cluster(namespace: &str, service: &str, port: Port) -> Result<Self, String> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                format!("${name} is not set: kubernetes: works in a pod of the cluster")
            })
        };
        let (host, api) =
            (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let url = format!("https://{host}:{api}");
        Self::new(&url, Path::new(ACCOUNT), namespace, service, port)
    }

    /// The same at an address, with the account's `token` and `ca.crt` in a folder. The token is
    /// read for each question: the cluster renews it.
    pub fn new(
        url: &str,
        account: &Path,
        namespace: &str,
        service: &str,
        port: Port,
    ) -> Result<Self, String> {
        let https = url.starts_with("https://");
        let ca = https.then(|| account.join("ca.crt"));
        let site = Site::through(&Transport { ca, ..Transport::default() }, url)?;
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices\
             ?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        );
        Ok(Self { site, token: SecretSource::File(account.join("token")), path, port })
    }

    /// The addresses that are ready now.
    pub async fn look(&self) -> Result<BTreeSet<SocketAddr>, PoolError> {
        let token = self.token.read()?;
        let mut headers = HeaderMap::new();
        header(&mut headers, "accept", "application/json")?;
        header(&mut headers, "authorization", &format!("Bearer {}", token.expose()))?;
        let url = self.site.url(&self.path)?;
        let answer = self.site.send(Method::GET, url, headers, Bytes::new()).await?.good().await;
        let answer = answer.map_err(|mut error| {
            error.said = token.redact(&error.said);
            error
        })?;
        let list = answer.whole(LIST_BYTES_MAX).await?;
        ready(&list, &self.port).map_err(PoolError::contract)
    }
}

/// The addresses of a list that are ready.
fn ready(list: &[u8], port: &Port) -> Result<BTreeSet<SocketAddr>, String> {
    let list: List = serde_json::from_slice(list)
        .map_err(|error| format!("no list of endpoint slices: {error}"))?;
    let mut found = BTreeSet::new();
    for slice in list.items.iter().filter(|slice| slice.address_type != "FQDN") {
        let own = match port {
            Port::Number(number) => Some(*number),
            Port::Name(name) => {
                slice.ports.iter().find(|of| of.name == *name).and_then(|of| of.port)
            }
        };
        let Some(own) = own else { continue };
        for endpoint in &slice.endpoints {
            // Unknown is to be taken for ready, as the API's reference says.
            if endpoint.conditions.ready == Some(false) {
                continue;
            }
            // All addresses of one endpoint are the same server, which the first stands for.
            let Some(address) = endpoint.addresses.first() else { continue };
            let address: IpAddr = address
                .parse()
                .map_err(|_| format!("an endpoint at {address:?}, which is no address"))?;
            found.insert(SocketAddr::new(address, own));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::{Query, State};
    use axum::http::{HeaderMap as Headers, StatusCode};
    use axum::response::{IntoResponse as _, Response};
    use axum::routing::get;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    /// A slice as the API's reference has it.
    fn slice(name: &str, kind: &str, endpoints: Value) -> Value {
        json!({
            "metadata": { "name": name, "namespace": "ml",
                "labels": { "kubernetes.io/service-name": "wildfire" } },
            "addressType": kind,
            "ports": [{ "name": "h2c", "port": 9000, "protocol": "TCP" },
                { "name": "http1", "port": 8080, "protocol": "TCP", "appProtocol": null }],
            "endpoints": endpoints,
        })
    }

    fn list(items: Vec<Value>) -> Value {
        json!({ "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
            "metadata": { "resourceVersion": "7" }, "items": items })
    }

    fn pod(address: &str, conditions: Value) -> Value {
        json!({ "addresses": [address], "conditions": conditions, "nodeName": "n1",
            "targetRef": { "kind": "Pod", "name": "wildfire-0", "namespace": "ml" } })
    }

    fn whole() -> Value {
        list(vec![
            slice(
                "a",
                "IPv4",
                json!([
                    pod(
                        "10.1.0.1",
                        json!({ "ready": true, "serving": true, "terminating": false })
                    ),
                    pod(
                        "10.1.0.2",
                        json!({ "ready": false, "serving": true, "terminating": true })
                    ),
                    pod("10.1.0.3", json!({ "ready": null })),
                ]),
            ),
            slice("b", "IPv6", json!([pod("fd00::1", json!({ "ready": true }))])),
            slice("c", "FQDN", json!([pod("pool.example", json!({ "ready": true }))])),
            slice("d", "IPv4", Value::Null),
        ])
    }

    fn addresses(found: &BTreeSet<SocketAddr>) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ready_endpoints_are_those_that_the_slices_call_so() {
        let read = |port| ready(whole().to_string().as_bytes(), &port);
        let named = read(Port::Name("h2c".into())).unwrap();
        assert_eq!(addresses(&named), ["10.1.0.1:9000", "10.1.0.3:9000", "[fd00::1]:9000"]);
        let numbered = read(Port::Number(8001)).unwrap();
        assert_eq!(addresses(&numbered), ["10.1.0.1:8001", "10.1.0.3:8001", "[fd00::1]:8001"]);
        assert!(read(Port::Name("other".into())).unwrap().is_empty());
        for bad in ["", "{}", "[]", "{\"items\":[{\"ports\":[{\"port\":70000}]}]}"] {
            assert!(ready(bad.as_bytes(), &Port::Number(1)).is_err(), "{bad}");
        }
        let odd = list(vec![slice("a", "IPv4", json!([pod("here", json!({}))]))]).to_string();
        assert!(ready(odd.as_bytes(), &Port::Number(1)).unwrap_err().contains("no address"));
    }

    type Told = Arc<Mutex<Vec<(String, String)>>>;

    async fn api(
        State(told): State<Told>,
        Query(query): Query<BTreeMap<String, String>>,
        headers: Headers,
    ) -> Response {
        let token = headers.get("authorization").unwrap().to_str().unwrap().to_owned();
        let selector = query.get("labelSelector").cloned().unwrap_or_default();
        told.lock().unwrap().push((token.clone(), selector));
        match token.as_str() {
            "Bearer renewed" => axum::Json(whole()).into_response(),
            _ => {
                let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": "endpointslices.discovery.k8s.io is forbidden",
                    "reason": "Forbidden", "code": 403 });
                (StatusCode::FORBIDDEN, axum::Json(status)).into_response()
            }
        }
    }

    #[tokio::test]
    async fn the_clusters_api_is_asked_with_the_token_of_the_moment() {
        let told = Told::default();
        let path = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices";
        let app = axum::Router::new().route(path, get(api)).with_state(Arc::clone(&told));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        let service = Service::new(&url, dir.path(), "ml", "wildfire", Port::Number(1)).unwrap();
        assert_eq!(service.look().await.unwrap_err().cause, crate::pool::Cause::Auth);
        std::fs::write(&token, "old").unwrap();
        let refused = service.look().await.unwrap_err();
        assert_eq!(refused.cause, crate::pool::Cause::Auth, "{refused}");
        assert!(refused.said.contains("forbidden"), "{refused}");
        std::fs::write(&token, "renewed\n").unwrap();
        assert_eq!(service.look().await.unwrap().len(), 3);
        let selector = "kubernetes.io/service-name=wildfire".to_owned();
        assert_eq!(told.lock().unwrap().last(), Some(&("Bearer renewed".to_owned(), selector)));
    }
}

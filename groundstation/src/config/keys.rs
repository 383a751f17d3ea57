//! Which keys of a `[[pool]]` belong to which adapters: one that its adapter does not know would
//! be believed in vain.

use super::PoolKind;

use PoolKind::{
    Anthropic, BedrockConverse, BedrockInvoke, Embedded, OipGrpc, OipRest, Openai, Sagemaker,
    SagemakerAsync,
};

const AWS: &[PoolKind] = &[BedrockConverse, BedrockInvoke, Sagemaker, SagemakerAsync];
const ADDRESSED: &[PoolKind] = &[OipRest, OipGrpc, Openai, Anthropic];
const ELSEWHERE: &[&[PoolKind]] = &[ADDRESSED, AWS];

/// Keys that not every adapter has, and the kinds that do. All others are every pool's.
const KEYS: &[(&str, &[&[PoolKind]])] = &[
    ("url", ELSEWHERE),
    ("discover", &[ADDRESSED]),
    ("discover_every_s", &[ADDRESSED]),
    ("packages", &[&[Embedded]]),
    ("runtime", &[&[Embedded]]),
    ("danger_accept_development_key", &[&[Embedded]]),
    ("workers", &[&[Embedded]]),
    ("credentials", ELSEWHERE),
    ("credentials_env", &[ADDRESSED]),
    ("x_api_key", &[&[Openai, Anthropic]]),
    ("api_version", &[&[Anthropic]]),
    ("completion_tokens", &[&[Openai]]),
    ("ca", &[ADDRESSED]),
    ("danger_http", ELSEWHERE),
    ("structured", &[&[Openai, Anthropic], AWS]),
    ("stream", &[&[OipGrpc, Openai, Anthropic, BedrockConverse, BedrockInvoke, Sagemaker]]),
    ("aws_region", &[AWS]),
    ("form", &[&[BedrockInvoke, Sagemaker, SagemakerAsync]]),
    ("bucket", &[&[SagemakerAsync]]),
    ("bucket_url", &[&[SagemakerAsync]]),
];

/// Refuses a key of another adapter; `kinds` are those of the file's pools, in order. One that is
/// `false` asks for nothing, and may stand anywhere.
pub(super) fn check(stated: &toml::Table, kinds: &[PoolKind]) -> Result<(), (String, String)> {
    let rows = stated.get("pool").and_then(toml::Value::as_array);
    for (row, kind) in rows.into_iter().flatten().zip(kinds) {
        let Some(row) = row.as_table() else { continue };
        let name = row.get("name").and_then(toml::Value::as_str).unwrap_or_default();
        let says = |key: &str| row.get(key).is_some_and(|value| value.as_bool() != Some(false));
        let foreign = KEYS.iter().find(|(key, has)| says(key) && !has.concat().contains(kind));
        if let Some((key, has)) = foreign {
            let kind = kind.name();
            let has: Vec<&str> = has.iter().copied().flatten().map(|kind| kind.name()).collect();
            let message =
                format!("a pool of kind {kind} has no such key: it belongs to {}", has.join(", "));
            return Err((format!("pool {name}: {key}"), message));
        }
        if says("discover_every_s") && !says("discover") {
            let message = "is for pools that are found: it says nothing without `discover`";
            return Err((format!("pool {name}: discover_every_s"), message.into()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(kind: PoolKind, keys: &str) -> Result<(), (String, String)> {
        let text = format!("[[pool]]\nname = \"far\"\nkind = \"{}\"\n{keys}\n", kind.name());
        check(&text.parse().unwrap(), &[kind])
    }

    #[test]
    fn a_key_of_another_adapter_is_refused_with_the_kinds_that_have_it() {
        for (kind, key, has) in [
            (OipRest, "workers = 2", "embedded"),
            (OipRest, "bucket = \"s3://a/b\"", "sagemaker-async"),
            (OipGrpc, "form = \"oip\"", "bedrock-invoke, sagemaker, sagemaker-async"),
            (Embedded, "url = \"http://127.0.0.1:1\"", "oip-rest, oip-grpc, openai"),
            (Embedded, "credentials = \"key\"", "oip-rest"),
            (Anthropic, "completion_tokens = true", "openai"),
            (BedrockConverse, "ca = \"ca.pem\"", "oip-rest, oip-grpc, openai, anthropic"),
            (Openai, "packages = [\"model\"]", "embedded"),
        ] {
            let (at, said) = checked(kind, key).unwrap_err();
            assert_eq!(at, format!("pool far: {}", key.split(' ').next().unwrap()));
            assert!(said.contains(kind.name()), "{key}: {said}");
            assert!(said.contains(&format!("belongs to {has}")), "{key}: {said}");
        }
    }

    #[test]
    fn keys_that_do_something_or_ask_for_nothing_pass() {
        let found = "discover = \"dns:pool:1\"\ndiscover_every_s = 5\nca = \"ca.pem\"";
        assert_eq!(checked(OipGrpc, found), Ok(()));
        assert_eq!(checked(Embedded, "workers = 2\nregion = \"eu\"\nbatch_max = 4"), Ok(()));
        assert_eq!(checked(OipRest, "stream = false\nx_api_key = false"), Ok(()));
        let (at, said) = checked(OipGrpc, "discover_every_s = 5").unwrap_err();
        assert_eq!(at, "pool far: discover_every_s");
        assert!(said.contains("without `discover`"), "{said}");
    }
}

//! Keys for signing: from a file, the environment, a container's host or the machine's role.

use super::sigv4::Keys;
use crate::config::StoreCredentials;
use crate::pool::http::{Place, Question, Reply, Server};
use crate::pool::{PoolError, Secret, SecretSource};
use hyper::Method;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Time for each answer of what is on the same machine.
const ROLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long keys of a role are used before they are asked for again: new ones are there five
/// minutes before the old expire.
const ROLE_KEYS_FOR: Duration = Duration::from_secs(240);

/// Longest answer of what hands out keys.
const ROLE_BYTES_MAX: usize = 64 << 10;

/// Where a machine tells its role, unless the environment names another place.
const IMDS: &str = "http://169.254.169.254";

/// Where a container's host tells its role by a path alone.
const CONTAINER: &str = "http://169.254.170.2";

/// Where keys come from.
#[derive(Debug)]
pub struct Credentials {
    file: Option<PathBuf>,
    role: Mutex<Option<(Keys, Instant)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleKeys {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

impl Credentials {
    /// From a file of `access_key_id`, `secret_access_key` and perhaps `session_token`; without
    /// one from the environment, then the container's host, then the machine's role.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { file, role: Mutex::default() }
    }

    /// The keys as they are now: files and environment are read anew each time.
    pub async fn keys(&self) -> Result<Keys, PoolError> {
        if let Some(path) = &self.file {
            return from_file(path);
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let (Some(id), Some(secret)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            let token = variable("AWS_SESSION_TOKEN").map(|token| Secret::new(&token));
            return Ok(Keys { id, secret: Secret::new(&secret), token });
        }
        let mut role = self.role.lock().await;
        if let Some((keys, asked)) = &*role
            && asked.elapsed() < ROLE_KEYS_FOR
        {
            return Ok(keys.clone());
        }
        let full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let keys = match full.or_else(|| relative.map(|path| format!("{CONTAINER}{path}"))) {
            Some(url) => {
                let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
                let token = file.map(|path| SecretSource::File(path.into()));
                let own = || SecretSource::Environment("AWS_CONTAINER_AUTHORIZATION_TOKEN".into());
                let set = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").is_some();
                from_container(&url, token.or_else(|| set.then(own))).await
            }
            None => {
                let place = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
                from_machine(place.as_deref().unwrap_or(IMDS)).await
            }
        }?;
        *role = Some((keys.clone(), Instant::now()));
        Ok(keys)
    }

    /// Forgets keys of a role that were refused: the next question asks for new ones.
    pub async fn refused(&self) {
        *self.role.lock().await = None;
    }
}

/// Tries a file of keys; keeps none of them.
pub fn try_file(path: &std::path::Path) -> Result<(), PoolError> {
    from_file(path).map(drop)
}

fn from_file(path: &std::path::Path) -> Result<Keys, PoolError> {
    let text = SecretSource::File(path.to_owned()).read_lines()?;
    // The parser's words would show the line, and the line is a key.
    let stated: StoreCredentials = toml::from_str(text.expose()).map_err(|_| {
        PoolError::auth(format!(
            "credential file {}: wants access_key_id, secret_access_key and perhaps session_token",
            path.display()
        ))
    })?;
    Ok(Keys {
        id: stated.access_key_id,
        secret: Secret::new(&stated.secret_access_key),
        token: stated.session_token.map(|token| Secret::new(&token)),
    })
}

/// Splits `http://HOST[:PORT]/PATH` into a server and a path.
fn server(url: &str) -> Result<(Server, String), PoolError> {
    let wrong = |why: String| PoolError::auth(format!("where keys are handed out: {why}"));
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let base = url.strip_suffix(path).unwrap_or(url);
    let place = Place::parse(base).map_err(wrong)?;
    Ok((Server::plain(place, ROLE_BYTES_MAX), path.to_owned()))
}

async fn ask(server: &Server, question: Question) -> Result<Reply, PoolError> {
    let reply = server.ask(question, ROLE_TIMEOUT).await.and_then(Reply::good);
    reply.map_err(|error| {
        PoolError::auth(format!(
            "no keys in file or environment, and no role of this machine hands any out: {error}"
        ))
    })
}

fn role_keys(reply: &Reply) -> Result<Keys, PoolError> {
    let stated: RoleKeys = serde_json::from_slice(&reply.body)
        .map_err(|_| PoolError::auth("what the role handed out are no keys"))?;
    Ok(Keys {
        id: stated.access_key_id,
        secret: Secret::new(&stated.secret_access_key),
        token: stated.token.map(|token| Secret::new(&token)),
    })
}

async fn from_container(url: &str, token: Option<SecretSource>) -> Result<Keys, PoolError> {
    let (server, path) = server(url)?;
    let mut question = Question::get(path);
    if let Some(token) = token {
        let token = token.read()?;
        question =
            question.header("authorization", token.expose()).map_err(|_| Secret::unusable())?;
    }
    role_keys(&ask(&server, question).await?)
}

/// A machine's role, by the second version of its metadata service: a token first.
async fn from_machine(base: &str) -> Result<Keys, PoolError> {
    let (server, _) = server(base)?;
    let text = |reply: &Reply| String::from_utf8_lossy(&reply.body).trim().to_owned();
    let asked = Question { method: Method::PUT, ..Question::get("/latest/api/token") }
        .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")?;
    let token = Secret::new(&text(&ask(&server, asked).await?));
    let get = |path: String| {
        let question = Question::get(path).header("x-aws-ec2-metadata-token", token.expose());
        question.map_err(|_| Secret::unusable())
    };
    let folder = "/latest/meta-data/iam/security-credentials/";
    let role = text(&ask(&server, get(folder.to_owned())?).await?);
    let role = role.lines().next().unwrap_or_default();
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if role.is_empty() || !role.bytes().all(name) {
        return Err(PoolError::auth("this machine has no role"));
    }
    role_keys(&ask(&server, get(format!("{folder}{role}"))?).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, put};

    const KEYS: &str =
        r#"{"Code":"Success","AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t"}"#;

    async fn serve(app: axum::Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        url
    }

    fn wanted() -> Keys {
        let token = Some(Secret::new("t"));
        Keys { id: "ASIA".into(), secret: Secret::new("s"), token }
    }

    #[tokio::test]
    async fn a_machines_role_is_asked_with_a_token() {
        let told = |headers: HeaderMap, said: &'static str| async move {
            match headers.get("x-aws-ec2-metadata-token") {
                Some(token) if token == "fresh" => (StatusCode::OK, said),
                _ => (StatusCode::UNAUTHORIZED, ""),
            }
        };
        let folder = "/latest/meta-data/iam/security-credentials";
        let app = axum::Router::new()
            .route("/latest/api/token", put(|| async { "fresh" }))
            .route(&format!("{folder}/"), get(move |headers| told(headers, "station-role\n")))
            .route(&format!("{folder}/station-role"), get(move |headers| told(headers, KEYS)));
        assert_eq!(from_machine(&serve(app).await).await.unwrap(), wanted());
    }

    #[tokio::test]
    async fn a_containers_host_is_asked_with_the_token_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "pod\n").unwrap();
        let told = |headers: HeaderMap| async move {
            let good = headers.get("authorization").is_some_and(|token| token == "pod");
            if good { (StatusCode::OK, KEYS) } else { (StatusCode::UNAUTHORIZED, "") }
        };
        let url = serve(axum::Router::new().route("/v1/credentials", get(told))).await;
        let url = format!("{url}/v1/credentials");
        let keys = from_container(&url, Some(SecretSource::File(file))).await;
        assert_eq!(keys.unwrap(), wanted());
        let refused = from_container(&url, None).await.unwrap_err();
        assert_eq!(refused.cause, crate::pool::Cause::Auth);
    }

    #[tokio::test]
    async fn a_file_that_is_none_is_named_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.toml");
        let credentials = Credentials::new(Some(file.clone()));
        std::fs::write(&file, "access_key_id = \"AKIA\"\nsecret = \"hidden\"\n").unwrap();
        let error = credentials.keys().await.unwrap_err();
        assert!(error.said.contains("keys.toml") && !error.said.contains("hidden"), "{error}");
        let text = "access_key_id = \"AKIA\"\nsecret_access_key = \"hidden\"\n";
        std::fs::write(&file, text).unwrap();
        let keys = credentials.keys().await.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose(), keys.token), ("AKIA", "hidden", None));
    }
}

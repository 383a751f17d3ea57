//! HTTP to a pool: connections that are kept, bounded answers, and an end to each exchange.
//!
//! A connection whose exchange is dropped is closed: the server sees that it is given up.

use super::PoolError;
use super::body::{Parts, Ungathered, gather};
use super::dial::{Dial, Transport, refuse_parts};
use super::room::Rooms;
use super::verdict::{self, Refusal};
use bytes::Bytes;
use futures_util::future::TryFutureExt as _;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time for a connection and for metadata; a pool that takes longer counts as not there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait that a server's word on when to come again is believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Most letters of a server's words that are repeated.
const SAID_LETTERS_MAX: usize = 300;

/// A kept connection that ends so soon after a question was being closed already.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Connections that are kept while nobody uses them; further ones are closed.
const IDLE_MAX: usize = 16;

/// What a connection reads at a time, at the most: as much as hyper reads where nobody says.
const READ_BYTES_MAX: usize = 400 << 10;

/// What a connection takes: what it reads, and twice 32 KiB for TLS and what is written.
pub const CONNECTION_BYTES: u64 = (READ_BYTES_MAX + (64 << 10)) as u64;

/// A server's words, cut to what a log line bears.
pub fn cut(said: &str) -> String {
    said.chars().take(SAID_LETTERS_MAX).collect::<String>().trim().to_owned()
}

/// What a pool calls the model that fulfils a task.
pub fn model_of<'a>(
    pool: &str,
    models: &'a BTreeMap<String, String>,
    task: &str,
) -> Result<&'a str, PoolError> {
    let model = models.get(task).map(String::as_str);
    model.ok_or_else(|| PoolError::bad_request(format!("pool {pool} has no model for {task}")))
}

/// An exchange within a time; what is not done by then is dropped, down to the wire.
pub async fn within<T>(
    time: Duration,
    exchange: impl Future<Output = Result<T, PoolError>>,
) -> Result<T, PoolError> {
    tokio::time::timeout(time, exchange).await.unwrap_or_else(|_| Err(PoolError::deadline()))
}

/// Where a server is: host and port of its address, and a path before the protocol's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whether TLS goes between.
    pub https: bool,
    /// Host and port.
    pub authority: String,
    /// Path without a slash at its end; may be empty.
    pub path: String,
}

impl Place {
    /// Reads `http[s]://HOST[:PORT][/PATH]`.
    pub fn parse(url: &str) -> Result<Self, String> {
        refuse_parts(url)?;
        let (https, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("{url:?}: a pool's address begins with https:// or http://")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = authority.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        let authority = match port {
            Some(Ok(_)) => authority.to_owned(),
            _ if authority.is_empty() => return Err(format!("{url:?}: no host")),
            _ if https => format!("{authority}:443"),
            _ => format!("{authority}:80"),
        };
        let path = path.trim_end_matches('/');
        let path = path.strip_suffix("v2").unwrap_or(path).trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Ok(Self { https, authority, path })
    }

    /// The host alone; of a number of IPv6 with its brackets.
    pub fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, _)| host)
    }
}

/// Most bytes of what a server says of itself and of a model.
pub const DESCRIPTION_BYTES_MAX: usize = 256 << 10;

/// A question.
pub struct Question {
    /// Method.
    pub method: Method,
    /// Path after the place's own.
    pub path: String,
    /// Headers besides host, length and type.
    pub headers: HeaderMap,
    /// Type of the body.
    pub content_type: &'static str,
    /// Body, in parts; none for no body.
    pub body: Vec<Bytes>,
    /// Most bytes of its answer, where that is less than what the server may send.
    pub answer_bytes_max: usize,
}

impl Question {
    /// A question without a body, such as for a description.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            content_type: "",
            body: Vec::new(),
            answer_bytes_max: DESCRIPTION_BYTES_MAX,
        }
    }

    /// Sets a header; a value that no header may hold is refused.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, PoolError> {
        let name = HeaderName::from_static(name);
        let value = HeaderValue::from_str(value).map_err(|_| {
            PoolError::bad_request(format!("a value for {name} that no header may hold"))
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }
}

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The answer, or what an error status means.
    pub fn good(self) -> Result<Self, PoolError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let refusal = Refusal::read(self.status.as_u16(), &self.headers, &self.body);
        Err(verdict::of(&refusal))
    }

    /// A header that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// A header, where it is a text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A connection and the task that drives it; the task ends with it.
struct Connection {
    sender: SendRequest<Parts>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A server and the connections to it.
pub struct Server {
    dial: Dial,
    path: String,
    idle: Mutex<Vec<Connection>>,
    answer_bytes_max: usize,
    rooms: Rooms,
}

impl Server {
    /// A server of plain HTTP, wherever it is, whose answers are at most so long.
    pub fn plain(place: Place, answer_bytes_max: usize) -> Self {
        let dial = Dial::plain(&place);
        Self::by(dial, place.path, answer_bytes_max)
    }

    /// A server at an address, whose answers are at most so long.
    pub fn new(url: &str, transport: &Transport, answer_bytes_max: usize) -> Result<Self, String> {
        let place = Place::parse(url)?;
        let dial = Dial::new(url, &place, transport, b"http/1.1")?;
        Ok(Self::by(dial, place.path, answer_bytes_max))
    }

    fn by(dial: Dial, path: String, answer_bytes_max: usize) -> Self {
        let (idle, rooms) = (Mutex::default(), Rooms::default());
        Self { dial, path, idle, answer_bytes_max, rooms }
    }

    fn gone(&self, what: &str, error: &dyn Display) -> PoolError {
        PoolError::unavailable(format!("{what} {}: {error}", self.dial.authority()))
    }

    /// Asks, within a time.
    pub async fn ask(&self, question: Question, time: Duration) -> Result<Reply, PoolError> {
        within(time, self.exchange(question)).await
    }

    async fn exchange(&self, question: Question) -> Result<Reply, PoolError> {
        let mut again = false;
        loop {
            let kept = if again { None } else { self.kept().await };
            again |= kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let sent = Instant::now();
            match connection.sender.send_request(self.request(&question)?).await {
                Ok(response) => {
                    let most = question.answer_bytes_max.min(self.answer_bytes_max);
                    return self.read(connection, response, most).await;
                }
                // Some servers close a kept connection without a word, just as it is used again:
                // then a new one is made, once. Asking twice changes nothing there.
                Err(_) if !again && sent.elapsed() < CLOSED_WITHIN => again = true,
                Err(error) if error.is_canceled() => {
                    return Err(self.gone("connection lost to", &error));
                }
                // It had the question, and may have died of it.
                Err(error) => {
                    let place = self.dial.authority();
                    return Err(PoolError::failed(format!("no answer by {place}: {error}")));
                }
            }
        }
    }

    fn request(&self, question: &Question) -> Result<hyper::Request<Parts>, PoolError> {
        let mut request = hyper::Request::builder()
            .method(question.method.clone())
            .uri(format!("{}{}", self.path, question.path))
            .header(HOST, self.dial.authority());
        if !question.body.is_empty() {
            request = request
                .header(CONTENT_TYPE, question.content_type)
                .header(CONTENT_LENGTH, question.body.iter().map(Bytes::len).sum::<usize>());
        }
        let request = request.body(Parts::from(question.body.clone()));
        let mut request = request.map_err(|error| PoolError::bad_request(error.to_string()))?;
        request.headers_mut().extend(question.headers.clone());
        Ok(request)
    }

    /// A connection that is open as far as anyone knows.
    async fn kept(&self) -> Option<Connection> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = idle?;
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, PoolError> {
        let stream = self.dial.connect().await;
        let stream = stream.map_err(|error| self.gone("no connection to", &error))?;
        let shaken =
            Builder::new().max_buf_size(READ_BYTES_MAX).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| self.gone("no HTTP with", &error))?;
        let driver = tokio::spawn(connection.unwrap_or_else(drop));
        Ok(Connection { sender, driver })
    }

    async fn read(
        &self,
        connection: Connection,
        response: hyper::Response<hyper::body::Incoming>,
        most: usize,
    ) -> Result<Reply, PoolError> {
        let (parts, body) = response.into_parts();
        let body = match gather(body, most, &self.rooms).await {
            Ok(body) => body,
            Err(Ungathered::TooLong) => {
                return Err(PoolError::contract(format!("answer of more than {most} bytes")));
            }
            Err(Ungathered::Broken(error)) => {
                let place = self.dial.authority();
                return Err(PoolError::failed(format!("answer cut short by {place}: {error}")));
            }
        };
        if !connection.sender.is_closed() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Cause;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that answers so many questions of a connection, reads one more and closes.
    async fn closing(answers: usize) -> (Server, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut chunk = [0; 4096];
                for number in 0..=answers {
                    if stream.read(&mut chunk).await.unwrap() == 0 {
                        break;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    if number < answers {
                        let said = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        stream.write_all(said).await.unwrap();
                    }
                }
            }
        });
        (Server::plain(place, 1 << 10), asked)
    }

    #[tokio::test]
    async fn who_has_a_question_and_goes_away_has_failed_it_and_is_asked_once_more_at_most() {
        let time = Duration::from_secs(20);
        let (server, asked) = closing(0).await;
        let error = server.ask(Question::get("/"), time).await.unwrap_err();
        assert_eq!((error.cause, asked.load(Ordering::Relaxed)), (Cause::Failed, 1), "{error}");
        // A kept connection may have been closing: then a new one tells.
        let (server, asked) = closing(1).await;
        for _ in 0..2 {
            server.ask(Question::get("/"), time).await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3, "the second was asked twice");
    }

    #[tokio::test]
    async fn who_is_not_there_took_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let asked = Server::plain(place, 1).ask(Question::get("/"), Duration::from_secs(20)).await;
        assert_eq!(asked.unwrap_err().cause, Cause::Unavailable);
    }

    #[test]
    fn addresses_are_read() {
        let place = |url| {
            let place = Place::parse(url)?;
            Ok::<_, String>((place.https, place.authority, place.path))
        };
        let row = |https, a: &str, b: &str| Ok((https, a.to_owned(), b.to_owned()));
        assert_eq!(place("http://127.0.0.1:80"), row(false, "127.0.0.1:80", ""));
        assert_eq!(place("http://pool/"), row(false, "pool:80", ""));
        assert_eq!(place("http://[::1]"), row(false, "[::1]:80", ""));
        assert_eq!(place("https://pool/v2"), row(true, "pool:443", ""));
        assert_eq!(place("https://pool:8000/gate/v2/"), row(true, "pool:8000", "/gate"));
        assert!(place("pool:80").is_err());
        assert!(place("https://").is_err());
        assert!(place("http://").is_err());
    }
}
